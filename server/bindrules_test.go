package server_test

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

type ruledItem struct {
	Name   string `json:"name" validate:"min=1,max=5"`
	Copies int    `json:"copies" validate:"min=1,max=100"`
}

type ruledOrder struct {
	Email string      `json:"email" validate:"email"`
	Size  string      `json:"size" default:"m" validate:"oneof=s m l"`
	Items []ruledItem `json:"items,omitempty" validate:"max=3,dive"`
	Note  *string     `json:"note" validate:"omitempty,min=2"`
}

// reasonOf binds a body, or the query if kind is "query".
func reasonOf(t *testing.T, kind, text string, v any) (reason string) {
	t.Helper()
	var ctx fasthttp.RequestCtx
	var err error
	if kind == "query" {
		ctx.Request.SetRequestURI("/?" + text)
		err = server.Query(&ctx, v)
	} else {
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.Header.SetContentType(kind)
		ctx.Request.SetBodyString(text)
		err = server.Bind(&ctx, v)
	}
	if err == nil {
		return ""
	}
	fault, ok := errors.AsType[*server.Error](err)
	if !ok || fault.Status != 400 {
		t.Fatalf("%s %s: %v", kind, text, err)
	}
	return fault.Reason
}

// One response lists the broken rules together with all other faults. A value with a fault
// of another kind is not checked against its rules. v is not changed.
func TestBindRules(t *testing.T) {
	json, form := "application/json", "application/x-www-form-urlencoded"
	for _, c := range []struct{ kind, body, want string }{
		{json, `{"email":"a@b.example"}`, ""},
		{json, `{"email":"a@b.example","note":null,"items":[{"name":"x","copies":100}]}`, ""},
		{json, `{"email":"a","size":"xl","note":"","items":[{"name":"x","copies":1},{"name":"x","copies":1},{"name":"toolong","copies":101}]}`,
			"email must be an email address; size must be one of: s, m, l; items[2].name must have at most 5 characters; items[2].copies must be at most 100; note must have at least 2 characters"},
		{json, `{"email":7,"size":"xl","items":[{"name":"x","copies":"1"},{"copies":0}]}`,
			"email must be a string, not number; items[0].copies must be an integer from -9223372036854775808 to 9223372036854775807, not string; items[1].name is missing; size must be one of: s, m, l; items[1].copies must be at least 1"},
		{json, `{"size":"xl","sise":"m"}`, "sise is unknown; there are: email, size, items, note; email is missing; size must be one of: s, m, l"},
		{form, `email=a%40b.example&items={"name":"x","copies":0}`, "items[0].copies must be at least 1"},
		{"query", `email=a&note=1&x=1`, "x is unknown; there are: email, size, items, note; email must be an email address; note must have at least 2 characters"},
		{"query", `email=a%40b.example&size=xl`, "size must be one of: s, m, l"},
	} {
		v := ruledOrder{Email: "unchanged"}
		reason := reasonOf(t, c.kind, c.body, &v)
		if reason != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.body, reason, c.want)
		}
		if changed := !reflect.DeepEqual(v, ruledOrder{Email: "unchanged"}); changed != (c.want == "") {
			t.Errorf("%s: %+v", c.body, v)
		}
	}
}

// Many broken rules are counted like other faults.
func TestBindCountsBrokenRules(t *testing.T) {
	var v struct {
		Items []ruledItem `json:"items" validate:"dive"`
	}
	body := `{"items":[` + strings.Repeat(`{"name":"x","copies":0},`, 2000) + `{"name":"x","copies":1}]}`
	reason := reasonOf(t, "application/json", body, &v)
	if !strings.HasPrefix(reason, "items[0].copies must be at least 1; ") || !strings.HasSuffix(reason, "; and 1990 more") {
		t.Errorf("%s", reason)
	}
}

// A tag that cannot be used is a 500 response for every request. The log names the type and
// the tag, and the process goes on.
func TestBindBrokenTag(t *testing.T) {
	t.Parallel()
	type broken struct {
		Copies int `json:"copies" validate:"min=1,max=lots"`
	}
	var log bytes.Buffer
	s := open(t, server.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))},
		server.Route{Method: "POST", Path: "/broken", Handler: func(ctx *fasthttp.RequestCtx) error { return server.Bind(ctx, new(broken)) }})
	got := talk(t, s, post("/broken", `{"copies":0}`)+post("/broken", `{"copies":1}`)+get("/broken"))
	if statuses(got) != "500 500 405" {
		t.Errorf("%s", statuses(got))
	}
	if want := `field Copies of server_test.broken: tag validate:\"min=1,max=lots\": max=lots: strconv.ParseInt`; strings.Count(log.String(), want) != 2 {
		t.Errorf("no %s in\n%s", want, log.String())
	}
}

// FuzzBindRules binds any body: the rules hold for every struct that was bound.
func FuzzBindRules(f *testing.F) {
	for _, body := range []string{
		`{"email":"a@b.example","items":[{"name":"x","copies":1}]}`, `{"email":1,"items":[{"name":"x","copies":"1"}]}`, `{"items":[{"copies":0}],"note":""}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var v ruledOrder
		if reasonOf(t, "application/json", body, &v) != "" {
			return
		}
		wrong := !strings.Contains(v.Email, "@") || len(v.Items) > 3 || v.Note != nil && len([]rune(*v.Note)) < 2
		for _, i := range v.Items {
			wrong = wrong || i.Copies < 1 || i.Copies > 100 || i.Name == ""
		}
		if wrong {
			t.Errorf("%q is bound: %+v", body, v)
		}
	})
}

type plainItem struct {
	Name   string `json:"name"`
	Copies int    `json:"copies"`
}

type plainOrder struct {
	Email string      `json:"email"`
	Size  string      `json:"size" default:"m"`
	Items []plainItem `json:"items,omitempty"`
	Note  *string     `json:"note"`
}

// BenchmarkBind binds the same body to a struct without and with rules.
func BenchmarkBind(b *testing.B) {
	const body = `{"email":"a@b.example","items":[{"name":"x","copies":1},{"name":"y","copies":2}],"note":"hello"}`
	for _, c := range []struct {
		name string
		v    any
	}{{"plain", new(plainOrder)}, {"rules", new(ruledOrder)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.Header.SetContentType("application/json")
			for b.Loop() {
				ctx.Request.SetBodyString(body)
				if err := server.Bind(&ctx, c.v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
