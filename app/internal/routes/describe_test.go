package routes

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// describedDeps are enough to make the tables of routes and descriptions.
func describedDeps(token string) Deps {
	return Deps{
		Guard: access.New(access.Options{Token: token}), Logger: slog.New(slog.DiscardHandler), Leaving: context.Background(),
		Program: "shop", Version: "1.2.3",
	}
}

// shortSentences matches one to three sentences. Each has at most 30 words, starts with an
// upper-case letter and ends with a full stop.
var shortSentences = regexp.MustCompile(`^([A-Z][^ ;]*( [^ ;]+){1,29}\.( |$)){1,3}$`)

// Each route of the platform is described, and each description is that of a route.
func TestDescriptionIsComplete(t *testing.T) {
	groups := groupsOf(describedDeps("secret"))
	if len(groups) != len(Groups)+1 {
		t.Errorf("%d groups, want %d and health", len(groups), len(Groups))
	}
	doc, err := openapi.Build(openapi.Options{Token: true, Cookie: "c"}, groups)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			place := method + " " + path
			if ids[op.ID] || strings.Contains(op.ID, "_") {
				t.Errorf("%s: the id %q is not one of its own, or has an underscore", place, op.ID)
			}
			ids[op.ID] = true
			if op.Summary == "" || strings.HasSuffix(op.Summary, ".") {
				t.Errorf("%s: %q: not a phrase", place, op.Summary)
			}
			if !shortSentences.MatchString(op.Description) {
				t.Errorf("%s: %q: not one to three sentences of at most 30 words, without semicolons", place, op.Description)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: the parameter %s has no description", place, p.Name)
				}
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s: the path has no parameter %s", place, p.Name)
				}
			}
		}
	}
}

// Every reference is to a component, and every component is referred to, whichever
// groups are on.
func TestDescriptionRefers(t *testing.T) {
	for _, off := range append([]string{""}, Groups...) {
		d := describedDeps("secret")
		d.Off = []string{off}
		doc, err := openapi.Build(openapi.Options{Token: true, Cookie: "c"}, groupsOf(d))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		defined := map[string]bool{}
		for name := range doc.Components.Schemas {
			defined["#/components/schemas/"+name] = true
		}
		for name := range doc.Components.Responses {
			defined["#/components/responses/"+name] = true
		}
		used := map[string]bool{}
		for _, m := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllSubmatch(text, -1) {
			used[string(m[1])] = true
		}
		if got, want := slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(defined)); !slices.Equal(got, want) {
			t.Errorf("without %q: used %v, defined %v", off, got, want)
		}
	}
}

// A route without a description is an error, and so is a description without a route.
func TestDescriptionMissesNothing(t *testing.T) {
	for _, name := range Groups {
		groups := groupsOf(describedDeps(""))
		g := &groups[slices.IndexFunc(groups, func(g openapi.Group) bool { return g.Name == name })]
		described := slices.Sorted(maps.Keys(g.Operations))[0]
		method, path, _ := strings.Cut(described, " ")
		routes := g.Routes
		g.Routes = slices.DeleteFunc(slices.Clone(routes), func(r server.Route) bool { return r.Method == method && r.Path == path })
		if _, err := openapi.Build(openapi.Options{}, groups); err == nil || !strings.Contains(err.Error(), "the description of "+described+" has no route") {
			t.Errorf("%s: without the route %s: %v", name, described, err)
		}
		g.Routes = append(slices.Clone(routes), server.Route{Method: "GET", Path: "/not-described"})
		if _, err := openapi.Build(openapi.Options{}, groups); err == nil || !strings.Contains(err.Error(), "GET /not-described has no description") {
			t.Errorf("%s: with a route that is not described: %v", name, err)
		}
	}
}

// What the description says of access is what the guard of the route does.
func TestDescribedAccess(t *testing.T) {
	for _, g := range groupsOf(describedDeps("secret")) {
		for _, r := range g.Routes {
			for _, op := range g.Operations[r.Method+" "+r.Path] {
				if got := accessOf(t, r); got != op.Access {
					t.Errorf("%s %s: described as %d, guarded as %d", r.Method, r.Path, op.Access, got)
				}
			}
		}
	}
}

// accessOf finds out what a route wants of a request.
func accessOf(t *testing.T, r server.Route) openapi.Access {
	t.Helper()
	admitted := func(fields ...string) bool {
		if r.Admit == nil {
			return true
		}
		var h fasthttp.RequestHeader
		for _, field := range fields {
			name, value, _ := strings.Cut(field, ": ")
			h.Set(name, value)
		}
		_, err := r.Admit(&h)
		if e, ok := errors.AsType[*server.Error](err); err != nil && (!ok || e.Status != http.StatusUnauthorized && e.Status != http.StatusForbidden) {
			t.Errorf("%s %s: %v", r.Method, r.Path, err)
		}
		return err == nil
	}
	const token, foreign, protocol = "Authorization: Bearer secret", "Sec-Fetch-Site: cross-site", "Sec-WebSocket-Protocol: bearer.secret"
	open, write := admitted(), !admitted(token, foreign)
	switch {
	case open && !write:
		return openapi.Open
	case open:
		return openapi.SameSite
	case !write:
		return openapi.Read
	case !admitted("Upgrade: websocket", protocol):
		return openapi.Write
	}
	return openapi.Handshake
}

// The keys of a task are those that the body is read by.
func TestDescribedTaskKeys(t *testing.T) {
	for _, row := range []struct {
		schema map[string]*openapi.Schema
		keys   []string
	}{{taskOptions(), taskKeys}, {memberOptions(), memberKeys}, {flowOptions(), flowKeys}} {
		if got, want := slices.Sorted(maps.Keys(row.schema)), slices.Sorted(slices.Values(row.keys)); !slices.Equal(got, want) {
			t.Errorf("described %v, read %v", got, want)
		}
	}
}
