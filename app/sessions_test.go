package app

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/session"
)

// cookiesOf are what a client sends back after a response.
func cookiesOf(h http.Header) string {
	var all []string
	for _, text := range h.Values("Set-Cookie") {
		pair, _, _ := strings.Cut(text, ";")
		if _, value, _ := strings.Cut(pair, "="); value != "" {
			all = append(all, pair)
		}
	}
	return "Cookie: " + strings.Join(all, "; ")
}

func keyLine(seed string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(seed, 32))) + "\n"
}

// Who has logged in is known to all processes, after kill -9 of each, and while keys are
// replaced. A cookie that is forged, or whose session has been ended, is anonymous.
func TestLogin(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/keys"
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keyLine("a"))
	url, master, log := start(t, nil, "-procs", "2", "-cookie-key-file", file)
	status, header, body := send(t, "POST", url+"/login?next=/me%3Fx=1")
	if status != 200 || body != "/me?x=1" {
		t.Fatalf("%d %q", status, body)
	}
	client := &loggedIn{t, url, cookiesOf(header)}
	ada := client.login("ada")

	for range 20 { // each on a connection of its own
		ada.is("200 ada seen yes")
	}
	for _, slot := range []string{"serve.0", "serve.1"} {
		found := regexp.MustCompile(`msg="child ready" slot=` + slot + ` pid=(\d+)`).FindStringSubmatch(log())
		pid, err := strconv.Atoi(found[1])
		if err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
			t.Fatal(found, err)
		}
		awaitLog(t, log, "slot="+slot+" pid="+found[1]+` reason="killed by SIGKILL"`)
		testutil.Eventually(t, slot+" is back", func() bool {
			return len(regexp.MustCompile(`msg="child ready" slot=`+slot).FindAllString(log(), -1)) == 2
		})
		ada.is("200 ada seen yes")
	}

	write(keyLine("b") + keyLine("a"))
	reload(t, master, log, 1)
	ada.is("200 ada seen yes")
	bob := client.login("bob")
	bob.is("200 bob seen yes")
	write(keyLine("b"))
	reload(t, master, log, 2)
	bob.is("200 bob seen yes")
	ada.is("303 /login?next=%2Fme") // the old key is gone

	ada = client.login("ada")
	forged := *ada
	forged.cookies = strings.Replace(ada.cookies, "session=", "session=A", 1)
	forged.is("303 /login?next=%2Fme")
	if status, _, body := send(t, "POST", url+"/end/ada", ada.cookies); status != 403 || !strings.Contains(body, "scope end") {
		t.Errorf("without the scope: %d %s", status, body)
	}
	if status, _, _ := send(t, "POST", url+"/end/ada"); status != 401 {
		t.Errorf("anonymous: %d", status)
	}
	if status, _, body := send(t, "POST", url+"/end/ada", "X-User: root"); status != 200 {
		t.Errorf("with the scope: %d %s", status, body)
	}
	ada.is("303 /login?next=%2Fme")
	bob.is("200 bob seen yes")

	if status, _, _ := send(t, "POST", url+"/login", "Origin: https://evil.example"); status != 403 {
		t.Errorf("from a page of another origin: %d", status)
	}
}

// loggedIn is a client with its cookies.
type loggedIn struct {
	t            *testing.T
	url, cookies string
}

func (c *loggedIn) login(name string) *loggedIn {
	c.t.Helper()
	_, header, _ := sendBody(c.t, "POST", c.url+"/login", name)
	return &loggedIn{c.t, c.url, cookiesOf(header)}
}

// is checks the status of /me, and its text or where it redirects to.
func (c *loggedIn) is(want string) {
	c.t.Helper()
	status, header, body := send(c.t, "GET", c.url+"/me", c.cookies)
	if got := strconv.Itoa(status) + " " + body + header.Get("Location"); got != want {
		c.t.Errorf("%q, want %q", got, want)
	}
}

// reload waits for the n-th reload.
func reload(t *testing.T, master *os.Process, log func() string, n int) {
	t.Helper()
	if err := master.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "it is reloaded", func() bool { return strings.Count(log(), "msg=reloaded") == n })
}

// A key file that cannot be used is a fault of the configuration; without one a key is
// made, once.
func TestCookieKeyFile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/keys"
	if err := os.WriteFile(file, []byte("c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, shop(), nil, "check", "-cookie-key-file", file); err == nil || !strings.Contains(err.Error(), "-cookie-key-file: "+file+": cookie key 1: 5 bytes") {
		t.Errorf("%v", err)
	}
	data := t.TempDir()
	if _, _, err := run(t, shop(), nil, "check", "-data", data); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(data); len(entries) != 0 {
		t.Errorf("check makes %v", entries)
	}
	start(t, nil, "-data", data)
	if info, err := os.Stat(data + "/cookie.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// While sessions cannot be read, a request with a session gets a 503 response that says when
// to retry. Requests without one are anonymous.
func TestSessionsAway(t *testing.T) {
	keys, err := offlineKeys()
	if err != nil {
		t.Fatal(err)
	}
	read := readSession(session.New(refuseShared(errors.New("away")).redis, keys, session.Options{}))
	if got, err := read(new(fasthttp.RequestHeader)); err != nil || got.Subject() != "" {
		t.Errorf("without a session: %v, %v", got, err)
	}
	var ctx fasthttp.RequestCtx
	if err := cookie.New(keys, cookie.Options{Name: "session", MaxAge: 24 * time.Hour}).Set(&ctx, "token"); err != nil {
		t.Fatal(err)
	}
	var sent fasthttp.Cookie
	for _, text := range ctx.Response.Header.Cookies() {
		if err := sent.ParseBytes(text); err != nil {
			t.Fatal(err)
		}
	}
	h := new(fasthttp.RequestHeader)
	h.SetCookieBytesKV(sent.Key(), sent.Value())
	got, err := read(h)
	away, ok := errors.AsType[*server.Error](err)
	if got != nil || !ok || away.Status != 503 || away.RetryAfter <= 0 {
		t.Errorf("with a session: %v, %v", got, err)
	}
}
