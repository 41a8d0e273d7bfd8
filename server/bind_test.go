package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

type item struct {
	Name   string `json:"name"`
	Copies int8   `json:"copies"`
}

type order struct {
	Customer string     `json:"customer"`
	Copies   int        `json:"copies" default:"1"`
	Price    *float64   `json:"price"`
	Gift     bool       `json:"gift,omitempty"`
	Tags     []string   `json:"tags,omitempty"`
	Items    []item     `json:"items,omitempty"`
	Due      *time.Time `json:"due"`
}

// bound binds a body of the given content type. It returns the struct and the reason of
// the 400 response, if any.
func bound(t *testing.T, kind, body string) (o order, status int, reason string) {
	t.Helper()
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	if kind != "" {
		ctx.Request.Header.SetContentType(kind)
	}
	ctx.Request.SetBodyString(body)
	o.Customer = "unchanged"
	err := server.Bind(&ctx, &o)
	if fault, failed := errors.AsType[*server.Error](err); failed {
		return o, fault.Status, fault.Reason
	}
	if err != nil {
		t.Fatalf("%s %q: %v", kind, body, err)
	}
	return o, 200, ""
}

func multipartOf(t *testing.T, fields ...string) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

// JSON and both kinds of forms give the same result.
func TestBind(t *testing.T) {
	price, due := 2.5, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := order{Customer: "Ann", Copies: 1, Price: &price, Gift: true, Tags: []string{"a", "b"}, Items: []item{{"x", 3}}, Due: &due}
	kind, form := multipartOf(t, "customer", "Ann", "price", "2.5", "gift", "on", "tags", "a", "tags", "b", "items", `{"name":"x","copies":3}`, "due", "2026-01-02T03:04:05Z")
	for _, c := range [][2]string{
		{"application/json", `{"customer":"Ann","price":2.5,"gift":true,"tags":["a","b"],"items":[{"name":"x","copies":3}],"due":"2026-01-02T03:04:05Z"}`},
		{"", `{"customer":"Ann","price":2.5,"gift":true,"tags":["a","b"],"items":[{"name":"x","copies":3}],"due":"2026-01-02T03:04:05Z"}`},
		{"application/vnd.shop+json; charset=utf-8", ` {"customer":"Ann","copies":1,"price":2.5,"gift":true,"tags":["a","b"],"items":[{"name":"x","copies":3}],"due":"2026-01-02T03:04:05Z"} `},
		{"application/x-www-form-urlencoded", "customer=Ann&price=2.5&gift=1&tags=a&tags=b&items=%7B%22name%22%3A%22x%22%2C%22copies%22%3A3%7D&due=2026-01-02T03:04:05Z"},
		{kind, form},
	} {
		got, status, reason := bound(t, c[0], c[1])
		if status != 200 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d %s\n%+v", c[0], status, reason, got)
		}
	}
}

// One response lists all faults, each with its path, and the struct is unchanged.
func TestBindFaults(t *testing.T) {
	json, form := "application/json", "application/x-www-form-urlencoded"
	for _, c := range []struct {
		kind, body string
		status     int
		want       []string
	}{
		{json, `{"copies":"two","custmer":"x"}`, 400, []string{"copies must be an integer", "custmer is unknown; there are: customer, copies", "customer is missing"}},
		{json, `{"customer":"a","items":[{"name":"x","copies":1},{"name":"y","copies":500},{"name":"z"}]}`, 400, []string{"items[1].copies must be an integer from -128 to 127", "items[2].copies is missing"}},
		{json, `{"customer":"a","customer":"b"}`, 400, []string{"customer is given twice"}},
		{json, `{"customer":null}`, 400, []string{"customer must not be null"}},
		{json, `["customer"]`, 400, []string{"must be a JSON object"}},
		{json, `{"customer":"a"} {}`, 400, []string{"body: must be a JSON object"}},
		{json, ``, 400, []string{"body"}},
		{json, "{\"customer\":\"\xff\"}", 400, []string{"UTF-8"}},
		{form, "customer=a&copies=many", 400, []string{"copies must be an integer"}},
		{form, "customer=a&customer=b", 400, []string{"customer is given twice"}},
		{form, "customer=a&gift=perhaps", 400, []string{"gift must be a boolean"}},
		{form, "customer=%ff", 400, []string{"UTF-8"}},
		{form, "", 400, []string{"customer is missing"}},
		{"text/plain", "customer=a", 415, []string{"application/json"}},
		{"", "customer=a", 400, []string{"must be"}},
		{"multipart/form-data", "x", 400, []string{"boundary"}},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"customer\"\r\n\r\na", 400, []string{"malformed multipart"}},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"x\"\r\n\r\na\r\n--b--\r\n", 400, []string{"photo is a file", "customer is missing"}},
	} {
		got, status, reason := bound(t, c.kind, c.body)
		for _, part := range c.want {
			if status != c.status || !strings.Contains(reason, part) {
				t.Errorf("%s %q: %d %q, want %d %q", c.kind, c.body, status, reason, c.status, part)
			}
		}
		if !reflect.DeepEqual(got, order{Customer: "unchanged"}) {
			t.Errorf("%s %q: changed to %+v", c.kind, c.body, got)
		}
	}
}

// If many members are unknown, the response names a few and counts the others.
func TestBindNamesAFewFaults(t *testing.T) {
	var body strings.Builder
	const unknown = 80_000
	body.WriteString(`{"customer":"a"`)
	for i := range unknown {
		fmt.Fprintf(&body, `,"k%d":0`, i)
	}
	body.WriteString("}")
	_, status, reason := bound(t, "application/json", body.String())
	if status != 400 || !strings.HasPrefix(reason, "k0 is unknown") || !strings.HasSuffix(reason, "; and 79990 more") || len(reason) > 2000 {
		t.Errorf("%d, %d bytes: %.100s…", status, len(reason), reason)
	}
}

func TestQuery(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/orders?customer=Ann&tags=a&tags=b")
	var o order
	if err := server.Query(&ctx, &o); err != nil || o.Customer != "Ann" || len(o.Tags) != 2 || o.Copies != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	ctx.Request.SetRequestURI("/orders?copies=x")
	fault, _ := errors.AsType[*server.Error](server.Query(&ctx, &o))
	if fault == nil || fault.Status != 400 || !strings.Contains(fault.Reason, "copies must be an integer") {
		t.Errorf("%v", fault)
	}
	if err := server.Bind(&ctx, o); err == nil {
		t.Error("a struct that is no pointer is bound")
	}
}

// Any input is bound or refused, and a struct that was bound can be encoded as JSON.
func FuzzBind(f *testing.F) {
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"} {
		f.Add(kind, `{"customer":"a","items":[{"name":"x","copies":1}]}`)
		f.Add(kind, "customer=a&copies=1e3&items=%7b%7d")
		f.Add(kind, "--b\r\nContent-Disposition: form-data; name=\"due\"\r\n\r\n2026\r\n--b--")
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetContentType(kind)
		ctx.Request.SetBodyString(body)
		var o order
		err := server.Bind(&ctx, &o)
		if _, refused := errors.AsType[*server.Error](err); err != nil && !refused {
			t.Errorf("%v", err)
		}
		if _, unreadable := json.Marshal(o); err == nil && unreadable != nil {
			t.Error(unreadable)
		}
	})
}

// A handler may read several arguments of one form, although a body can be read only once.
func TestArguments(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
	ctx.Request.SetRequestURI("/?b=query&c=3")
	const form = "a=1&b=form"
	ctx.Request.SetBodyStream(strings.NewReader(form), len(form))
	for name, want := range map[string]string{"a": "1", "b": "form", "c": "3", "d": ""} {
		value, given, err := server.Argument(&ctx, name)
		if err != nil || value != want || given != (want != "") {
			t.Errorf("%s: %q %v %v, want %q", name, value, given, err, want)
		}
	}
}
