package templates_test

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server/templates"
)

func folder(files map[string]string) fs.FS {
	all := fstest.MapFS{}
	for name, text := range files {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}

func parse(t *testing.T, o templates.Options, files map[string]string) *templates.Set {
	t.Helper()
	s, err := templates.New(folder(files), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func render(t *testing.T, s *templates.Set, page string, data any) string {
	t.Helper()
	ctx := new(fasthttp.RequestCtx)
	if err := s.Render(ctx, fasthttp.StatusOK, page, data); err != nil {
		t.Fatal(err)
	}
	return string(ctx.Response.Body())
}

const layout = `<html><body><h1>{{block "title" .}}Gale{{end}}</h1>{{template "content" .}}</body></html>`

func TestPages(t *testing.T) {
	s := parse(t, templates.Options{}, map[string]string{
		"_layout.html":     layout,
		"part/_item.html":  `<li>{{.}}</li>`,
		"first.html":       `{{define "content"}}first {{.}}{{end}}{{template "_layout.html" .}}`,
		"admin/index.html": `{{define "title"}}Admin{{end}}{{define "content"}}{{range .}}{{template "part/_item.html" .}}{{end}}{{end}}{{template "_layout.html" .}}`,
		".hidden.html":     `{{`, "backup.html~": `{{`, ".git/config": `{{`,
	})
	if got := fmt.Sprint(s.Names()); got != "[admin/index.html first.html]" {
		t.Errorf("names: %s", got)
	}
	for page, row := range map[string]struct {
		data any
		want string
	}{
		"first.html":       {"<b>", `<html><body><h1>Gale</h1>first &lt;b&gt;</body></html>`},
		"admin/index.html": {[]string{"a", "b"}, `<html><body><h1>Admin</h1><li>a</li><li>b</li></body></html>`},
	} {
		for range 2 { // the second time with a template that was executed before
			if got := render(t, s, page, row.data); got != row.want {
				t.Errorf("%s: %s", page, got)
			}
		}
	}
}

func TestResponse(t *testing.T) {
	s := parse(t, templates.Options{}, map[string]string{"teapot.html": "short"})
	ctx := new(fasthttp.RequestCtx)
	if err := s.Render(ctx, fasthttp.StatusTeapot, "teapot.html", nil); err != nil {
		t.Fatal(err)
	}
	if r := &ctx.Response; r.StatusCode() != 418 || string(r.Header.ContentType()) != "text/html; charset=utf-8" || string(r.Body()) != "short" {
		t.Errorf("%v", r)
	}
}

// A template that fails leaves the response as it was.
func TestRenderErrors(t *testing.T) {
	s := parse(t, templates.Options{Funcs: template.FuncMap{"explode": func() string { panic("boom") }}}, map[string]string{
		"fails.html": "half a page\n{{.Missing.Field}}", "panics.html": "{{explode}}", "static.html": `{{static_url "a.css"}}`, "deep.html": `{{template "deep.html" .}}`,
	})
	for _, row := range []struct{ page, want string }{
		{"fails.html", "fails.html:2"}, {"panics.html", "boom"}, {"static.html", "no static files"}, {"deep.html", "exceeded maximum template depth"},
		{"none.html", "no such page; there are: deep.html, fails.html, panics.html, static.html"},
		{"../fails.html", "no such page"}, {"/etc/passwd", "no such page"}, {"fails.html\x00", "no such page"}, {"", "no such page"},
	} {
		ctx := new(fasthttp.RequestCtx)
		err := s.Render(ctx, fasthttp.StatusOK, row.page, struct{ Missing *struct{ Field int } }{})
		if err == nil || !strings.Contains(err.Error(), row.want) || errors.Is(err, templates.ErrPage) != strings.Contains(row.want, "no such page") {
			t.Errorf("%s: %v", row.page, err)
		}
		if len(ctx.Response.Body()) != 0 || strings.HasPrefix(string(ctx.Response.Header.ContentType()), "text/html") {
			t.Errorf("%s: the response was changed: %v", row.page, &ctx.Response)
		}
	}
	var none *templates.Set
	if err := none.Render(new(fasthttp.RequestCtx), 200, "a.html", nil); err == nil || !strings.Contains(err.Error(), "-templates") || none.Names() != nil {
		t.Errorf("without templates: %v", err)
	}
	many := map[string]string{}
	for n := range 100 {
		many[fmt.Sprintf("%03d.html", n)] = ""
	}
	if err := parse(t, templates.Options{}, many).Render(new(fasthttp.RequestCtx), 200, "x", nil); !strings.Contains(fmt.Sprint(err), "019.html, and 80 more") {
		t.Errorf("of many pages: %v", err)
	}
}

// A fault is found before the first request, and its message names the file and the line.
func TestNewErrors(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string
		funcs template.FuncMap
		want  string
	}{
		"syntax":           {map[string]string{"a.html": "ok\n{{if}}"}, nil, "a.html:2"},
		"syntax in shared": {map[string]string{"sub/_a.html": "ok\n\n{{end}}"}, nil, "sub/_a.html:3"},
		"unknown function": {map[string]string{"a.html": "\n{{shout .}}"}, nil, `a.html:2: function "shout" not defined`},
		"unknown template": {map[string]string{"a.html": "\n{{template \"_b.html\"}}"}, nil, "a.html:2"},
		"other page":       {map[string]string{"a.html": `{{template "b.html"}}`, "b.html": ""}, nil, `no such template "b.html"`},
		"context":          {map[string]string{"a.html": "\n<a href='{{if .}}x'{{end}}>"}, nil, "a.html:2"},
		"part in context":  {map[string]string{"_p.html": "<a href='", "a.html": `{{template "_p.html"}}`}, nil, "html/template"},
		"size":             {map[string]string{"a.html": strings.Repeat(" ", 1<<20+1)}, nil, "a.html: has more than"},
		"not a text":       {map[string]string{"a.png": "\x89PNG"}, nil, "a.png: is not valid UTF-8"},
		"replaced":         {nil, template.FuncMap{"link": strings.ToUpper}, "link cannot be replaced"},
		"not a function":   {nil, template.FuncMap{"n": 1}, "functions:"},
		"not a name":       {nil, template.FuncMap{"a-b": strings.ToUpper}, "functions:"},
	} {
		if _, err := templates.New(folder(row.files), templates.Options{Funcs: row.funcs}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The check of a page at start executes nothing.
func TestNewCallsNoFunction(t *testing.T) {
	parse(t, templates.Options{
		Funcs:     template.FuncMap{"own": func() string { t.Error("an own function was called"); return "" }},
		StaticURL: func(*fasthttp.RequestCtx, string) string { t.Error("static_url was called"); return "" },
	}, map[string]string{"a.html": `{{own}}{{static_url "a"}}{{link "/"}}`})
}

// Nothing outside of the folder is read, and a file that is not regular is refused.
func TestFolderOnDisk(t *testing.T) {
	for name, row := range map[string]struct {
		add  func(dir string) error
		want string
	}{
		"link out":         {func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "a.html")) }, "a.html"},
		"link in":          {func(dir string) error { return os.Symlink("good.html", filepath.Join(dir, "a.html")) }, ""},
		"link to a folder": {func(dir string) error { return os.Symlink(".", filepath.Join(dir, "a")) }, "a: not a regular file"},
		"named pipe":       {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "a.html"), 0o600) }, "a.html: not a regular file"},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "good.html"), []byte("good"), 0o600), row.add(dir)); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := templates.New(root.FS(), templates.Options{})
		if row.want == "" && (err != nil || render(t, s, "a.html", nil) != "good") || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := root.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Executions at the same time each have the request that they are for.
func TestFunctionsHaveTheirRequest(t *testing.T) {
	const key, requests = "key", 200
	s := parse(t, templates.Options{
		StaticURL: func(ctx *fasthttp.RequestCtx, name string) string {
			return fmt.Sprintf("/%v/%s", ctx.UserValue(key), name)
		},
		Funcs: template.FuncMap{"twice": func(s string) string { return s + s }},
	}, map[string]string{"a.html": `{{range .}}<img src="{{static_url "x y.png"}}">{{end}}{{twice "ab"}}{{link "/next"}}`})
	var all sync.WaitGroup
	for n := range requests {
		all.Go(func() {
			ctx := new(fasthttp.RequestCtx)
			ctx.SetUserValue(key, n)
			err := s.Render(ctx, 200, "a.html", make([]int, 50))
			want := strings.Repeat(fmt.Sprintf(`<img src="/%d/x%%20y.png">`, n), 50) + "abab/next"
			if got := string(ctx.Response.Body()); err != nil || got != want {
				t.Errorf("request %d: %v: %s", n, err, got)
			}
		})
	}
	all.Wait()
}

func TestBodyEnd(t *testing.T) {
	o := templates.Options{BodyEnd: func(*fasthttp.RequestCtx) string { return "<script src=x></script>" }}
	s := parse(t, o, map[string]string{"a.html": "<BODY>a</BODY></html>", "b.html": "no body", "c.html": "İ<pre></body></pre></body>ı", "d.html": ""})
	for page, want := range map[string]string{
		"a.html": "<BODY>a<script src=x></script></BODY></html>", "b.html": "no body<script src=x></script>",
		"c.html": "İ<pre></body></pre><script src=x></script></body>ı", "d.html": "<script src=x></script>",
	} {
		if got := render(t, s, page, nil); got != want {
			t.Errorf("%s: %s", page, got)
		}
	}
}

// BenchmarkRender compares Render, which reuses executions, with a copy of the template
// for each request, and with html/template alone.
func BenchmarkRender(b *testing.B) {
	const text = `{{define "content"}}<ul>{{range .}}<li>{{.}} <a href="{{link "/x"}}">x</a></li>{{end}}</ul>{{end}}{{template "_layout.html" .}}`
	data := []string{"a", "b", "c", "d", "e"}
	s, err := templates.New(folder(map[string]string{"_layout.html": layout, "a.html": text}), templates.Options{})
	if err != nil {
		b.Fatal(err)
	}
	plain := template.Must(template.Must(template.New("_layout.html").Funcs(template.FuncMap{"link": func(s string) string { return s }}).Parse(layout)).New("a.html").Parse(text))
	clean := template.Must(plain.Clone())
	ctx := new(fasthttp.RequestCtx)
	b.Run("reused", func(b *testing.B) {
		for b.Loop() {
			if err := s.Render(ctx, 200, "a.html", data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			var out strings.Builder
			if err := plain.Execute(&out, data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copied", func(b *testing.B) {
		for b.Loop() {
			var out strings.Builder
			if err := template.Must(clean.Clone()).Execute(&out, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
