package middleware_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/middleware"
)

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

func TestBasicAuth(t *testing.T) {
	t.Parallel()
	check := func(user, password string) bool {
		return user == "änne" && middleware.Equal(password, "sésame:öffne dich") || user == "nobody" && password == ""
	}
	s := serve(t, route("/", func(ctx *fasthttp.RequestCtx) error { return text("hello " + middleware.UserOf(ctx))(ctx) },
		middleware.BasicAuth(`the "back\office"`+"\r\n…", check)))
	challenge := `Basic realm="the \"back\\office\"", charset="UTF-8"`
	for name, row := range map[string]struct {
		fields []string // values of Authorization
		status int
		text   string // of the response, or the reason
	}{
		"right":                   {[]string{basic("änne:sésame:öffne dich")}, 200, "hello änne"},
		"an empty password":       {[]string{basic("nobody:")}, 200, "hello nobody"},
		"scheme in small letters": {[]string{"basic  " + basic("nobody:")[6:]}, 200, "hello nobody"},
		"none":                    {nil, 401, "a user name and a password are needed"},
		"another scheme":          {[]string{"Bearer token"}, 401, "a user name and a password are needed"},
		"the scheme alone":        {[]string{"Basic"}, 401, "a user name and a password are needed"},
		"wrong password":          {[]string{basic("änne:sesame")}, 401, "wrong user name or password"},
		"no colon":                {[]string{basic("nobody")}, 401, "wrong user name or password"},
		"not base64":              {[]string{"Basic nobody:"}, 401, "wrong user name or password"},
		"not UTF-8":               {[]string{basic("\xe4nne:x")}, 401, "wrong user name or password"},
		"a control character":     {[]string{basic("nobody\x00:")}, 401, "wrong user name or password"},
		"another character after": {[]string{basic("nobody:") + " x"}, 401, "wrong user name or password"},
		"repeated":                {[]string{basic("nobody:"), basic("nobody:")}, 400, "Authorization is repeated"},
	} {
		var fields []string
		for _, value := range row.fields {
			fields = append(fields, "Authorization", value)
		}
		wantChallenge := challenge
		if row.status != 401 {
			wantChallenge = ""
		}
		if row.status != 200 {
			row.text = fmt.Sprintf(`{"code":%d,"reason":"%s"}`, row.status, row.text)
		}
		got := s.get("/", fields...)
		if got.status != row.status || got.body != row.text || got.header.Get("WWW-Authenticate") != wantChallenge {
			t.Errorf("%s: %d %s, %q", name, got.status, got.body, got.header.Get("WWW-Authenticate"))
		}
	}
	wantFault(t, middleware.BasicAuth("x", nil), "middleware.BasicAuth: check is nil")
}

type account struct{ name string }

func TestBearerAuth(t *testing.T) {
	t.Parallel()
	check := func(ctx context.Context, token string) (*account, error) {
		switch token {
		case "ada":
			return &account{"Ada"}, ctx.Err()
		case "locked":
			return nil, server.Fail(403, "the account is locked")
		case "broken":
			return nil, errors.New("the database is away")
		case "to the left": // cannot come through
			return &account{"nobody"}, nil
		}
		return nil, nil
	}
	s := serve(t, route("/", func(ctx *fasthttp.RequestCtx) error {
		if middleware.CallerOf[string](ctx) != nil {
			return errors.New("the caller is no string")
		}
		return text("hello " + middleware.CallerOf[account](ctx).name)(ctx)
	}, middleware.BearerAuth("shop", check)))
	for name, row := range map[string]struct {
		fields          []string
		status          int
		text, challenge string
	}{
		"right":                   {[]string{"Bearer ada"}, 200, "hello Ada", ""},
		"scheme in small letters": {[]string{"bearer  ada"}, 200, "hello Ada", ""},
		"none":                    {nil, 401, "a bearer token is needed", `Bearer realm="shop"`},
		"another scheme":          {[]string{basic("ada:")}, 401, "a bearer token is needed", `Bearer realm="shop"`},
		"unknown":                 {[]string{"Bearer eve"}, 401, "the token is not valid", `Bearer realm="shop", error="invalid_token"`},
		"malformed":               {[]string{"Bearer to the left"}, 401, "the token is not valid", `Bearer realm="shop", error="invalid_token"`},
		"not ASCII":               {[]string{"Bearer \xe4da"}, 401, "the token is not valid", `Bearer realm="shop", error="invalid_token"`},
		"refused":                 {[]string{"Bearer locked"}, 403, "the account is locked", ""},
		"not decided":             {[]string{"Bearer broken"}, 500, "internal error", ""},
		"repeated":                {[]string{"Bearer ada", "Bearer ada"}, 400, "Authorization is repeated", ""},
	} {
		var fields []string
		for _, value := range row.fields {
			fields = append(fields, "Authorization", value)
		}
		if row.status != 200 {
			row.text = fmt.Sprintf(`{"code":%d,"reason":"%s"}`, row.status, row.text)
		}
		got := s.get("/", fields...)
		if got.status != row.status || got.body != row.text || got.header.Get("WWW-Authenticate") != row.challenge {
			t.Errorf("%s: %d %s, %q", name, got.status, got.body, got.header.Get("WWW-Authenticate"))
		}
	}
	wantFault(t, middleware.BearerAuth[account]("x", nil), "middleware.BearerAuth: check is nil")
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "a", false}} {
		if got := middleware.Equal(row.a, row.b); got != row.want {
			t.Errorf("%q, %q: %v", row.a, row.b, got)
		}
	}
}

// Without middleware nobody is known.
func TestNobody(t *testing.T) {
	t.Parallel()
	ctx := new(fasthttp.RequestCtx)
	if user, caller := middleware.UserOf(ctx), middleware.CallerOf[account](ctx); user != "" || caller != nil {
		t.Errorf("%q, %v", user, caller)
	}
}

// FuzzBasicAuth checks that no field makes the middleware fail, and that only the right
// password is admitted.
func FuzzBasicAuth(f *testing.F) {
	for _, value := range []string{"", "Basic", basic("a:b"), basic("a:"), "Basic !", "Bearer x", basic("\xff:")} {
		f.Add(value)
	}
	h := middleware.BasicAuth("x", func(user, password string) bool { return user == "a" && password == "b" })(func(ctx *fasthttp.RequestCtx) error { return nil })
	f.Fuzz(func(t *testing.T, value string) {
		ctx := new(fasthttp.RequestCtx)
		ctx.Request.Header.Set("Authorization", value)
		err := h(ctx)
		own, ok := errors.AsType[*server.Error](err)
		if err != nil && (!ok || own.Status != 401 || own.Challenge == "") {
			t.Errorf("%q: %v", value, err)
		}
		if (err == nil) != (middleware.UserOf(ctx) == "a") {
			t.Errorf("%q: %v, user %q", value, err, middleware.UserOf(ctx))
		}
	})
}
