package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
)

const (
	homeEntries = 5   // number of entries on the home page
	maxTitle    = 200 // limit of the title of an entry, in characters
)

// pages are the handlers.
type pages struct {
	title    string
	services *app.Services
	store    *store
}

// view is the data of every template. A page uses the fields that it needs.
type view struct {
	Blog    string   // title of the blog
	Author  *author  // who is logged in, or nil
	Flashes []string // messages for the author
	Entries []entry
	Entry   entry
	Fault   string // what was wrong with a form
	Email   string // given in a form
	Name    string // given in a form
	Next    string // where to go after the login
}

// render sends a page. It adds to v what the layout needs.
func (p *pages) render(ctx *fasthttp.RequestCtx, status int, name string, v view) error {
	v.Blog = p.title
	if err := p.setAuthor(ctx, &v); err != nil {
		return err
	}
	return p.services.Templates.Render(ctx, status, name, v)
}

// setAuthor sets the fields of v that depend on the login.
func (p *pages) setAuthor(ctx *fasthttp.RequestCtx, v *view) error {
	by, err := p.loggedIn(ctx)
	if err != nil || by == nil {
		return err
	}
	session, err := p.services.Sessions.Of(ctx)
	if err != nil {
		return err
	}
	v.Author, v.Flashes = by, session.Flashes()
	return nil
}

// home is GET /.
func (p *pages) home(ctx *fasthttp.RequestCtx) error {
	entries, err := p.store.entries(ctx, homeEntries)
	if err != nil {
		return err
	}
	return p.render(ctx, fasthttp.StatusOK, "home.html", view{Entries: entries})
}

// archive is GET /archive.
func (p *pages) archive(ctx *fasthttp.RequestCtx) error {
	entries, err := p.store.entries(ctx, -1)
	if err != nil {
		return err
	}
	return p.render(ctx, fasthttp.StatusOK, "archive.html", view{Entries: entries})
}

// entry is GET /entry/{slug}.
func (p *pages) entry(ctx *fasthttp.RequestCtx) error {
	e, err := p.store.entryBy(ctx, "slug", server.Param(ctx, "slug"))
	if errors.Is(err, errNotFound) {
		return server.Fail(fasthttp.StatusNotFound, "no such entry")
	}
	if err != nil {
		return err
	}
	return p.render(ctx, fasthttp.StatusOK, "entry.html", view{Entry: *e})
}

// compose is GET /compose: an empty form, or with ?id= the form of an entry.
func (p *pages) compose(ctx *fasthttp.RequestCtx) error {
	text, given := server.QueryText(ctx, "id")
	if !given {
		return p.render(ctx, fasthttp.StatusOK, "compose.html", view{})
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("id: %q is not a number", text))
	}
	e, err := p.store.entryBy(ctx, "id", id)
	if errors.Is(err, errNotFound) {
		return server.Fail(fasthttp.StatusNotFound, "no such entry")
	}
	if err != nil {
		return err
	}
	return p.render(ctx, fasthttp.StatusOK, "compose.html", view{Entry: *e})
}

// save is POST /compose. It adds an entry, or with id changes one.
func (p *pages) save(ctx *fasthttp.RequestCtx) error {
	by, err := p.loggedIn(ctx)
	if err != nil {
		return err
	}
	if by == nil { // logged in, but with the token of -token
		return server.Fail(fasthttp.StatusForbidden, "log in as the author of the blog")
	}
	var in struct {
		ID       int64  `json:"id" default:"0"`
		Title    string `json:"title"`
		Markdown string `json:"markdown"`
	}
	if err := server.Bind(ctx, &in); err != nil {
		return err
	}
	e := entry{ID: in.ID, Title: strings.TrimSpace(in.Title), Markdown: in.Markdown}
	if n := utf8.RuneCountInString(e.Title); n == 0 || n > maxTitle {
		return p.render(ctx, fasthttp.StatusBadRequest, "compose.html", view{Entry: e, Fault: fmt.Sprintf("the title must have between 1 and %d characters", maxTitle)})
	}
	slug, err := p.store.save(ctx, by.ID, e)
	if errors.Is(err, errNotFound) {
		return server.Fail(fasthttp.StatusNotFound, "no such entry")
	}
	if err != nil {
		return err
	}
	session, err := p.services.Sessions.Of(ctx)
	if err != nil {
		return err
	}
	session.Flash("the entry has been published")
	return redirect(ctx, server.Link(ctx, "/entry/"+url.PathEscape(slug)))
}

// redirect sends the browser to a page after a form.
func redirect(ctx *fasthttp.RequestCtx, target string) error {
	ctx.Response.Header.Set(fasthttp.HeaderLocation, target)
	ctx.SetStatusCode(fasthttp.StatusSeeOther)
	return nil
}
