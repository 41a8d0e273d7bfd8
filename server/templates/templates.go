// Package templates renders HTML pages with html/template.
//
// A file whose base name begins with an underscore is shared: every page can use it and
// the templates that it defines, such as layouts and parts of pages. Each other file is a
// page. A page is parsed into a set of its own, together with the shared files, so that
// two pages may define blocks of the same name. The name of a file is its slash-separated
// path below the folder.
//
// All templates have the functions of package text/template and these:
//
//	static_url "css/site.css"   URL of a static file, see Options.StaticURL
//	link "/path"                a path of this server as the client must request it, see server.Link
package templates

import (
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Options configure a Set. The zero value is valid.
type Options struct {
	// StaticURL returns the URL of a static file for the template function static_url.
	// Default: calls of static_url are errors.
	StaticURL func(ctx *fasthttp.RequestCtx, name string) string
	// Funcs are further functions for templates, as for template.Funcs. They cannot
	// replace static_url or link. They must be safe for concurrent use.
	Funcs template.FuncMap
	// BodyEnd returns HTML to insert before the last </body> of each rendered page.
	// Default: nothing is inserted.
	BodyEnd func(ctx *fasthttp.RequestCtx) string
}

// Set holds the pages of a folder. It is safe for concurrent use. Render of a nil Set
// returns an error.
type Set struct {
	opts  Options
	pages map[string]*page
}

// page is a template that can be executed for several requests at the same time.
type page struct {
	name   string
	opts   *Options
	source *template.Template // never executed, because html/template cannot clone it afterwards
	idle   sync.Pool          // of *execution
}

// execution is a copy of a page's template with functions for one request at a time.
// Package template has no way to pass functions to Execute, and a copy for each request
// would be escaped anew for each request.
type execution struct {
	template *template.Template
	ctx      *fasthttp.RequestCtx // request that is rendered
}

// New parses all templates of a folder. The error names the file, the line and what is
// wrong with it. Files and folders whose names begin with a dot or end in ~ are ignored.
// All other files must be templates of at most 1 MiB, in UTF-8.
func New(folder fs.FS, o Options) (*Set, error) {
	s := &Set{opts: o, pages: map[string]*page{}}
	files, err := readFiles(folder)
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	shared, err := newShared(o.Funcs)
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isShared(name) {
			continue
		}
		if _, err := shared.New(name).Parse(files[name]); err != nil {
			return nil, err // begins with template: and the name of the file
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if isShared(name) {
			continue
		}
		if s.pages[name], err = newPage(shared, name, files[name], &s.opts); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Names returns the names of all pages, sorted.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.pages))
}

// newShared returns a template without content, to which the shared files are added.
func newShared(own template.FuncMap) (t *template.Template, err error) {
	for _, name := range []string{"static_url", "link"} {
		if own[name] != nil {
			return nil, fmt.Errorf("function %s cannot be replaced", name)
		}
	}
	defer func() {
		if v := recover(); v != nil { // the only report of template.Funcs that a function is not valid
			err = fmt.Errorf("functions: %v", v)
		}
	}()
	return template.New("").Funcs(own).Funcs((&execution{}).functions(&Options{})), nil
}

// newPage parses a page and checks it as its first execution would.
func newPage(shared *template.Template, name, text string, o *Options) (*page, error) {
	source, err := shared.Clone()
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if source, err = source.New(name).Parse(text); err != nil {
		return nil, err
	}
	p := &page{name: name, opts: o, source: source}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// check escapes the page in all contexts, which html/template does not do before the
// first execution. It calls no function of the template.
func (p *page) check() error {
	const name = "check of a page" // no file is called so in practice, and the copy is not used for anything else
	copied, err := p.source.Clone()
	if err == nil {
		_, err = copied.New(name).Parse(fmt.Sprintf("{{if false}}{{template %q .}}{{end}}", p.name))
	}
	if err == nil {
		err = copied.ExecuteTemplate(io.Discard, name, nil)
	}
	return err
}

// newExecution returns a copy of the page's template with its own functions.
func (p *page) newExecution() (*execution, error) {
	copied, err := p.source.Clone()
	if err != nil {
		return nil, err
	}
	e := &execution{}
	e.template = copied.Funcs(e.functions(p.opts))
	return e, nil
}

// functions returns the functions that need the request.
func (e *execution) functions(o *Options) template.FuncMap {
	return template.FuncMap{
		"static_url": func(name string) (string, error) {
			if o.StaticURL == nil {
				return "", fmt.Errorf("static_url %q: there are no static files", name)
			}
			return o.StaticURL(e.ctx, name), nil
		},
		"link": func(path string) string { return server.Link(e.ctx, path) },
	}
}
