package cookie_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server/cookie"
)

func keys(t testing.TB, seeds ...string) *cookie.Keys {
	t.Helper()
	var secrets [][]byte
	for _, seed := range seeds {
		secrets = append(secrets, bytes.Repeat([]byte(seed), 32))
	}
	k, err := cookie.NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// set returns the cookie that a response carries.
func set(t testing.TB, c *cookie.Cookie, value string) *fasthttp.Cookie {
	t.Helper()
	ctx := new(fasthttp.RequestCtx)
	if err := c.Set(ctx, value); err != nil {
		t.Fatal(err)
	}
	return sent(t, ctx)
}

func sent(t testing.TB, ctx *fasthttp.RequestCtx) *fasthttp.Cookie {
	t.Helper()
	got := new(fasthttp.Cookie)
	for _, text := range ctx.Response.Header.Cookies() {
		if err := got.ParseBytes(text); err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Fatal("no Set-Cookie")
	return nil
}

// back returns the value that the server reads from a cookie of a client.
func back(c *cookie.Cookie, name, text string) (string, bool) {
	ctx := new(fasthttp.RequestCtx)
	ctx.Request.Header.SetCookie(name, text)
	return c.Get(ctx)
}

func TestCookie(t *testing.T) {
	for _, secret := range []bool{false, true} {
		c := cookie.New(keys(t, "a"), cookie.Options{Name: "user", Secret: secret, MaxAge: time.Hour})
		got := set(t, c, "ada; 1=\xff")
		if !got.HTTPOnly() || got.Secure() || got.SameSite() != fasthttp.CookieSameSiteLaxMode || string(got.Path()) != "/" || got.MaxAge() != 3600 {
			t.Errorf("attributes: %s", got)
		}
		text := string(got.Value())
		if value, ok := back(c, "user", text); !ok || value != "ada; 1=\xff" {
			t.Errorf("secret %v: %q %v", secret, value, ok)
		}
		raw, _ := base64.URLEncoding.DecodeString(text)
		inner := strings.SplitN(string(raw), "|", 3)
		plain, _ := base64.URLEncoding.DecodeString(inner[1])
		if readable := bytes.Contains(plain, []byte("ada")); readable == secret {
			t.Errorf("secret %v: the client can read it: %v", secret, readable)
		}
		for i := range len(text) { // no change of a single character passes
			changed := []byte(text)
			changed[i] ^= 1
			if value, ok := back(c, "user", string(changed)); ok && value != "ada; 1=\xff" { // base64 may have two spellings of one value
				t.Errorf("changed at %d: %q", i, value)
			}
		}
		other := cookie.New(keys(t, "a"), cookie.Options{Name: "admin", Secret: secret})
		if value, ok := back(other, "admin", text); ok {
			t.Errorf("a cookie of another name: %q", value)
		}
		for _, text := range []string{"", "x", strings.Repeat("A", 10000), "\x00"} {
			if value, ok := back(c, "user", text); ok {
				t.Errorf("%.10q: %q", text, value)
			}
		}
	}
}

func TestCookieExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cookie.New(keys(t, "a"), cookie.Options{Name: "user", MaxAge: time.Hour})
		text := string(set(t, c, "ada").Value())
		time.Sleep(time.Hour - time.Second)
		if _, ok := back(c, "user", text); !ok {
			t.Error("too old before its time")
		}
		time.Sleep(3 * time.Second)
		if _, ok := back(c, "user", text); ok {
			t.Error("still good after its time")
		}
		short := cookie.New(keys(t, "a"), cookie.Options{Name: "user", MaxAge: time.Millisecond})
		text = string(set(t, short, "ada").Value())
		time.Sleep(3 * time.Second)
		if _, ok := back(short, "user", text); ok {
			t.Error("a MaxAge below a second has no end")
		}
	})
}

// After a new key is inserted first, cookies of the old key stay valid until the old key
// is removed.
func TestKeyRotation(t *testing.T) {
	o := cookie.Options{Name: "user"}
	before := cookie.New(keys(t, "a"), o)
	during := cookie.New(keys(t, "b", "a"), o)
	after := cookie.New(keys(t, "b"), o)
	old, fresh := string(set(t, before, "ada").Value()), string(set(t, during, "ada").Value())
	for _, row := range []struct {
		c    *cookie.Cookie
		text string
		ok   bool
	}{{before, old, true}, {during, old, true}, {after, old, false}, {before, fresh, false}, {during, fresh, true}, {after, fresh, true}} {
		if _, ok := back(row.c, "user", row.text); ok != row.ok {
			t.Errorf("%+v: %v", row, ok)
		}
	}
}

func TestClearAndTooLong(t *testing.T) {
	c := cookie.New(keys(t, "a"), cookie.Options{Name: "user", SameSite: fasthttp.CookieSameSiteNoneMode, Path: "/shop", Readable: true})
	ctx := new(fasthttp.RequestCtx)
	c.Clear(ctx)
	got := sent(t, ctx)
	if len(got.Value()) != 0 || !got.Expire().Before(time.Now()) || string(got.Path()) != "/shop" || got.HTTPOnly() || !got.Secure() {
		t.Errorf("cleared: %s", got)
	}
	ctx = new(fasthttp.RequestCtx)
	if err := c.Set(ctx, strings.Repeat("x", 4000)); !errors.Is(err, cookie.ErrTooLong) || len(ctx.Response.Header.Peek("Set-Cookie")) != 0 {
		t.Errorf("too long: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name with a space is accepted")
		}
	}()
	cookie.New(keys(t, "a"), cookie.Options{Name: "a b"})
}

func TestReadKeys(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	for text, wrong := range map[string]string{
		"# mine\n\n" + good + "\n" + good + "\n": "",
		"":                                       "no cookie key",
		good + "\nnot base64!\n":                 "line 2 is not base64",
		"c2hvcnQ=\n":                             "cookie key 1: 5 bytes",
	} {
		file := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := cookie.ReadKeys(file)
		switch {
		case wrong == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "c2hvcnQ")):
			t.Errorf("%q: %v; want %q", text, err, wrong)
		}
	}
	if _, err := cookie.ReadKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Processes that start at the same time use the same key, and only the owner can read its
// file.
func TestEnsureKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	var all sync.WaitGroup
	texts := make([]string, 20)
	for i := range texts {
		all.Go(func() {
			k, err := cookie.EnsureKeys(file)
			if err != nil {
				t.Error(err)
				return
			}
			texts[i] = string(set(t, cookie.New(k, cookie.Options{Name: "user"}), "ada").Value())
		})
	}
	all.Wait()
	k, err := cookie.EnsureKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, ok := back(cookie.New(k, cookie.Options{Name: "user"}), "user", text); !ok {
			t.Fatal("two keys")
		}
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	info, err2 := os.Stat(file)
	if err := errors.Join(err, err2); err != nil || len(entries) != 1 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", entries, info.Mode(), err)
	}
}

// FuzzRead checks that Read returns only values that were set, whatever the client sends.
func FuzzRead(f *testing.F) {
	c := cookie.New(keys(f, "b", "a"), cookie.Options{Name: "user", Secret: true})
	ctx := new(fasthttp.RequestCtx)
	if err := c.Set(ctx, "ada"); err != nil {
		f.Fatal(err)
	}
	f.Add(sent(f, ctx).Value())
	f.Add([]byte("MTc|x|y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := new(fasthttp.RequestHeader)
		h.SetCookie("user", string(text))
		if value, ok := c.Read(h); ok && value != "ada" {
			t.Errorf("%q", value)
		}
	})
}
