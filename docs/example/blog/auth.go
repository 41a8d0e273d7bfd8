package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
	"golang.org/x/crypto/bcrypt"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
)

// Limits of a password in bytes. bcrypt uses no more than 72 bytes.
const minPassword, maxPassword = 8, 72

// loggedIn returns the author who is logged in, or nil. The subject of the session is the
// author's id.
func (p *pages) loggedIn(ctx *fasthttp.RequestCtx) (*author, error) {
	id := app.IdentityOf(ctx)
	if id == nil {
		return nil, nil
	}
	a, err := p.store.authorBy(ctx, "id", id.Subject)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	return a, err
}

// createForm is GET /auth/create.
func (p *pages) createForm(ctx *fasthttp.RequestCtx) error {
	switch found, err := p.store.hasAuthor(ctx); {
	case err != nil:
		return err
	case found:
		return refused(errAuthorExists)
	}
	return p.render(ctx, fasthttp.StatusOK, "create.html", view{})
}

// create is POST /auth/create. It creates the author and logs in.
func (p *pages) create(ctx *fasthttp.RequestCtx) error {
	var in struct {
		Email    string `json:"email"`
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	if err := server.Bind(ctx, &in); err != nil {
		return err
	}
	a := author{Email: strings.TrimSpace(in.Email), Name: strings.TrimSpace(in.Name)}
	again := func(fault string) error {
		return p.render(ctx, fasthttp.StatusBadRequest, "create.html", view{Fault: fault, Email: a.Email, Name: a.Name})
	}
	switch {
	case a.Email == "" || a.Name == "":
		return again("enter your email address and your name")
	case len(in.Password) < minPassword || len(in.Password) > maxPassword:
		return again(fmt.Sprintf("the password must have between %d and %d bytes", minPassword, maxPassword))
	}
	switch found, err := p.store.hasAuthor(ctx); { // before the hash, which takes long
	case err != nil:
		return err
	case found:
		return refused(errAuthorExists)
	}
	err := p.hash(ctx, func() (err error) {
		a.password, err = bcrypt.GenerateFromPassword([]byte(in.Password), bcrypt.DefaultCost)
		return err
	})
	if err != nil {
		return err
	}
	id, err := p.store.createAuthor(ctx, a)
	if err != nil {
		return refused(err)
	}
	return p.enter(ctx, id)
}

// refused returns the error for the client if err is errAuthorExists, and else err.
func refused(err error) error {
	if errors.Is(err, errAuthorExists) {
		return server.Fail(fasthttp.StatusBadRequest, errAuthorExists.Error())
	}
	return err
}

// loginForm is GET /auth/login. Without an author, it leads to /auth/create.
func (p *pages) loginForm(ctx *fasthttp.RequestCtx) error {
	switch found, err := p.store.hasAuthor(ctx); {
	case err != nil:
		return err
	case !found:
		return redirect(ctx, server.Link(ctx, "/auth/create"))
	}
	next, _ := server.QueryText(ctx, "next")
	return p.render(ctx, fasthttp.StatusOK, "login.html", view{Next: next})
}

// login is POST /auth/login.
func (p *pages) login(ctx *fasthttp.RequestCtx) error {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err := server.Bind(ctx, &in); err != nil {
		return err
	}
	a, err := p.store.authorBy(ctx, "email", strings.TrimSpace(in.Email))
	if err == nil {
		err = p.hash(ctx, func() error { return bcrypt.CompareHashAndPassword(a.password, []byte(in.Password)) })
	}
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		p.services.Log.Warn("login refused", "email", in.Email, "client", server.Client(ctx))
		next, _ := server.QueryText(ctx, "next")
		return p.render(ctx, fasthttp.StatusUnauthorized, "login.html", view{Fault: "email address or password is wrong", Email: in.Email, Next: next})
	case err != nil:
		return err
	}
	return p.enter(ctx, a.ID)
}

// enter logs in and goes to the page that needed the login.
func (p *pages) enter(ctx *fasthttp.RequestCtx, id int64) error {
	session, err := p.services.Sessions.Of(ctx)
	if err != nil {
		return err
	}
	session.Login(strconv.FormatInt(id, 10))
	return redirect(ctx, app.Next(ctx))
}

// logout is POST /auth/logout.
func (p *pages) logout(ctx *fasthttp.RequestCtx) error {
	session, err := p.services.Sessions.Of(ctx)
	if err != nil {
		return err
	}
	session.Logout()
	return redirect(ctx, server.Link(ctx, "/"))
}

// hash runs bcrypt, which takes a tenth of a second of CPU time, in the pool. If the pool
// and its queue are full, the client gets 503.
func (p *pages) hash(ctx context.Context, run func() error) error {
	return p.services.Pool.Do(ctx, func(context.Context) error { return run() })
}
