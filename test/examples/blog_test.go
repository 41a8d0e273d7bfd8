package examples_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/test/harness"
)

const (
	email    = "ada@example.com"
	password = "correct horse"
)

// reader is a browser that visits the blog.
type reader struct {
	*harness.Browser
	t *testing.T
}

func newReader(t *testing.T, g *harness.Server) reader {
	t.Helper()
	return reader{harness.NewBrowser(t, g), t}
}

// at returns a browser with the same cookies for another server.
func (r reader) at(g *harness.Server) reader {
	other := *r.Browser
	other.URL = g.URL
	return reader{&other, r.t}
}

func (r reader) get(path string, status int) (body string) {
	r.t.Helper()
	_, body = r.Expect("GET", path, "same-origin", "", status)
	return body
}

// post sends a form and returns where the response redirects to, or its body.
func (r reader) post(path string, status int, fields ...string) (result string) {
	r.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	resp, body := r.Expect("POST", path, "same-origin", form.Encode(), status)
	if resp.StatusCode == http.StatusSeeOther {
		return resp.Header.Get("Location")
	}
	return body
}

func (r reader) mustContain(path string, want ...string) {
	r.t.Helper()
	body := r.get(path, 200)
	for _, text := range want {
		if !strings.Contains(body, text) {
			r.t.Errorf("%s does not contain %q:\n%s", path, text, body)
		}
	}
}

func (r reader) isAuthor() {
	r.t.Helper()
	for range 6 { // each on a connection of its own
		r.get("/compose", 200)
	}
}

func (r reader) isAnonymous() {
	r.t.Helper()
	resp, _ := r.Expect("GET", "/compose", "same-origin", "", 303)
	if got := resp.Header.Get("Location"); got != "/auth/login?next=%2Fcompose" {
		r.t.Errorf("/compose redirects to %q", got)
	}
}

// createAuthor creates the author, who is logged in then.
func (r reader) createAuthor() {
	r.t.Helper()
	if got := r.post("/auth/create", 303, "email", email, "name", "Ada", "password", password); got != "/" {
		r.t.Errorf("after the creation of the author: %q", got)
	}
}

func blogFlags(t *testing.T, more ...string) []string {
	t.Helper()
	static, err := filepath.Abs("docs/example/blog/static")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"-procs", "2", "-workers", "0", "-static", static}, more...)
}

// An author is created, logs in, and publishes and edits entries. All processes show them.
func TestBlog(t *testing.T) {
	t.Parallel()
	g := serve(t, "blog", blogFlags(t, "-title", "Notes & More")...)
	ada, guest := newReader(t, g), newReader(t, g)

	guest.mustContain("/", "<h1><a href=\"/\">Notes &amp; More</a></h1>", "no entries yet", `href="/static/blog.css?v=`)
	if got := guest.get("/auth/login", 303); got != "" {
		t.Errorf("a login without an author: %q", got)
	}
	guest.isAnonymous()
	guest.post("/compose", 401, "title", "x", "markdown", "y")
	if body := ada.post("/auth/create", 400, "email", email, "name", "Ada", "password", "short"); !strings.Contains(body, "between 8 and 72 bytes") || !strings.Contains(body, `value="ada@example.com"`) {
		t.Errorf("a short password: %s", body)
	}
	ada.createAuthor()
	ada.isAuthor()
	if body := guest.post("/auth/create", 400, "email", "eve@example.com", "name", "Eve", "password", password); !strings.Contains(body, "has an author already") {
		t.Errorf("a second author: %s", body)
	}
	guest.get("/auth/create", 400)

	if got := ada.post("/compose", 303, "title", "Hello, Wörld!", "markdown", "*Fine* <script>alert(1)</script> [link](javascript:alert(1))"); got != "/entry/hello-w%C3%B6rld" {
		t.Fatalf("a new entry: %q", got)
	}
	ada.mustContain("/", "the entry has been published")
	if strings.Contains(ada.get("/", 200), "has been published") {
		t.Error("the message is shown twice")
	}
	ada.mustContain("/entry/hello-w%C3%B6rld", "<em>Fine</em>", "Edit this entry", "Log out Ada")
	if body := guest.get("/entry/hello-w%C3%B6rld", 200); strings.Contains(body, "<script>") || strings.Contains(body, "javascript:") || strings.Contains(body, "Edit") {
		t.Errorf("the entry as a guest sees it:\n%s", body)
	}
	if got := ada.post("/compose", 303, "title", "Hello, Wörld", "markdown", "again"); !strings.HasSuffix(got, "rld-2") {
		t.Errorf("an entry with the same title: %q", got)
	}
	ada.mustContain("/compose?id=1", "*Fine* &lt;script&gt;", "Save changes")
	if got := ada.post("/compose", 303, "id", "1", "title", "Changed", "markdown", "new text"); !strings.HasSuffix(got, "rld") {
		t.Errorf("a changed entry: %q", got)
	}
	for range 6 { // from both processes
		guest.mustContain("/archive", ">Changed</a>", "/entry/hello-w%c3%b6rld-2")
	}
	resp, feed := guest.Expect("GET", "/feed", "none", "", 200)
	if resp.Header.Get("Content-Type") != "application/atom+xml; charset=utf-8" || !strings.Contains(feed, "<title>Changed</title>") || !strings.Contains(feed, g.URL+"/entry/hello-w%C3%B6rld<") || !strings.Contains(feed, "&lt;p&gt;new text&lt;/p&gt;") {
		t.Errorf("feed: %s", feed)
	}
	guest.get("/entry/none", 404)
	ada.get("/compose?id=99", 404)
	ada.get("/compose?id=x", 400)
	ada.post("/compose", 404, "id", "99", "title", "x", "markdown", "y")
	if body := ada.post("/compose", 400, "title", " ", "markdown", "kept"); !strings.Contains(body, "between 1 and 200") || !strings.Contains(body, "kept") {
		t.Errorf("an entry without a title: %s", body)
	}
	ada.Expect("POST", "/compose", "cross-site", "title=x&markdown=y", 403)

	if got := ada.post("/auth/logout", 303); got != "/" {
		t.Errorf("logout: %q", got)
	}
	ada.isAnonymous()
	if body := ada.post("/auth/login?next=%2Fcompose", 401, "email", email, "password", "wrong"); !strings.Contains(body, "is wrong") || !strings.Contains(body, "?next=%2fcompose") {
		t.Errorf("a wrong password: %s", body)
	}
	guest.post("/auth/login", 401, "email", "eve@example.com", "password", password)
	if got := ada.post("/auth/login?next=%2Fcompose", 303, "email", strings.ToUpper(email), "password", password); got != "/compose" {
		t.Errorf("login: %q", got)
	}
	ada.isAuthor()
}

// Several processes create the database at the same time, also of several servers. Only
// one of many requests creates the author. Entries of the same title get different slugs.
func TestBlogProcessesOnOneDatabase(t *testing.T) {
	t.Parallel()
	database := filepath.Join(t.TempDir(), "blog.db")
	servers, faults := make([]*harness.Server, 2), make([]error, 2)
	var starting sync.WaitGroup
	program := build(t, "blog")
	for i := range servers {
		cmd := command(t, program, blogFlags(t, "-procs", "3", "-database", database)...)
		starting.Go(func() { servers[i], faults[i] = harness.LaunchAs(cmd) })
	}
	starting.Wait()
	for i, g := range servers {
		harness.MustStart(t, g, faults[i])
	}

	var created, refused int
	var mu sync.Mutex
	var writing sync.WaitGroup
	ada := newReader(t, servers[0])
	for i := range 8 {
		writing.Go(func() {
			form := url.Values{"email": {email}, "name": {"Ada"}, "password": {password}}
			r := newReader(t, servers[i%2])
			resp, body := r.Do("POST", "/auth/create", "same-origin", form.Encode())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case resp.StatusCode == http.StatusSeeOther:
				created++
				ada = r
			case resp.StatusCode == http.StatusBadRequest && strings.Contains(body, "has an author already"):
				refused++
			default:
				t.Errorf("create: %d %s", resp.StatusCode, body)
			}
		})
	}
	writing.Wait()
	if created != 1 || refused != 7 {
		t.Errorf("%d authors created, %d refused", created, refused)
	}
	var slugs sync.Map
	for range 20 {
		writing.Go(func() { slugs.Store(ada.post("/compose", 303, "title", "Same", "markdown", "x"), true) })
	}
	writing.Wait()
	for _, g := range servers {
		guest := newReader(t, g)
		slugs.Range(func(slug, _ any) bool { guest.get(slug.(string), 200); return true })
		if n := strings.Count(guest.get("/archive", 200), "<li>"); n != 20 {
			t.Errorf("the archive has %d entries", n)
		}
	}
}

// A database that cannot be opened is named in the log.
func TestBlogDatabaseFault(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(folder+"/blog.db", []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, build(t, "blog"), blogFlags(t, "-database", folder+"/blog.db")...)
	log := new(testutil.LogBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the log names the database", func() bool {
		return strings.Contains(log.String(), "open database "+folder+"/blog.db: ")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func keyLine(seed string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(seed, 32))) + "\n"
}

// A login counts in all processes of two machines that share Redis and the keys, after kill
// -9 of a process, and while the keys are replaced. A cookie that is forged, too old, signed
// with a key that is gone, or whose session has ended is anonymous.
func TestBlogLoginOnTwoMachines(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	keys := filepath.Join(folder, "keys")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keyLine("a"))
	shared := redistest.Start(t)
	flags := blogFlags(t, "-redis", shared.URL(), "-cookie-key-file", keys, "-database", filepath.Join(folder, "blog.db"))
	program := build(t, "blog")
	here, there := launch(t, command(t, program, flags...)), launch(t, command(t, program, flags...))
	reload := func() {
		t.Helper()
		for _, g := range []*harness.Server{here, there} {
			before := g.Slots(t)
			if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			testutil.Eventually(t, "the processes are replaced", func() bool { return g.ServeSlotsReplaced(t, before) })
		}
	}
	ada := newReader(t, here)
	ada.createAuthor()
	ada.isAuthor()
	ada.at(there).isAuthor()

	before := there.Slots(t)["serve.0"].PID
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "serve.0 has a new process", func() bool {
		now := there.Slots(t)["serve.0"]
		return now.PID != before && now.State == "live"
	})
	ada.at(there).isAuthor()

	old := *ada.Browser // keeps the cookie that key a has signed
	write(keyLine("b") + keyLine("a"))
	reload()
	ada.at(there).isAuthor() // nobody is logged out
	ada.at(here).isAuthor()
	newcomer := newReader(t, there)
	newcomer.post("/auth/login", 303, "email", email, "password", password) // signed with key b
	write(keyLine("b"))
	reload()
	newcomer.isAuthor()
	newcomer.at(here).isAuthor()
	reader{&old, t}.isAnonymous() // key a is gone

	address, err := url.Parse(there.URL)
	if err != nil {
		t.Fatal(err)
	}
	var session *http.Cookie
	for _, c := range newcomer.Client.Jar.Cookies(address) {
		if c.Name == "session" {
			session = c
		}
	}
	if session == nil {
		t.Fatal("no session cookie")
	}
	with := func(g *harness.Server, value string) reader {
		r := newReader(t, g)
		r.Client.Jar.SetCookies(address, []*http.Cookie{{Name: "session", Value: value, Path: "/"}})
		return r
	}
	for _, value := range []string{"A" + session.Value, session.Value[:len(session.Value)-8], "ada", ""} {
		with(there, value).isAnonymous()
	}
	now, longAgo := signAgain(t, session.Value)
	with(there, now).isAuthor()
	with(there, longAgo).isAnonymous()

	thief := with(here, session.Value)
	thief.isAuthor()
	newcomer.post("/auth/logout", 303)
	thief.isAnonymous()
	thief.at(there).isAnonymous()

	newcomer.post("/auth/login", 303, "email", email, "password", password)
	newcomer.isAuthor()
	all, err := shared.Client().Keys(t.Context(), "gale:session:*").Result()
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, key := range all { // as at the end of the session's lifetime
		if err := shared.Client().PExpire(t.Context(), key, time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, "the sessions have expired", func() bool { return shared.Client().Exists(t.Context(), all...).Val() == 0 })
	newcomer.isAnonymous()
	newcomer.at(here).isAnonymous()
}

// signAgain returns two cookies for the session of a cookie: one signed now, and one that is
// older than the lifetime of a session, because time in a bubble begins in the year 2000.
func signAgain(t *testing.T, value string) (now, longAgo string) {
	t.Helper()
	keys, err := cookie.NewKeys([]byte(strings.Repeat("b", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signed := cookie.New(keys, cookie.Options{Name: "session", MaxAge: 24 * time.Hour})
	h := new(fasthttp.RequestHeader)
	h.SetCookie("session", value)
	token, ok := signed.Read(h)
	if !ok {
		t.Fatal("the cookie cannot be read with the key")
	}
	sign := func(t *testing.T) string {
		var ctx fasthttp.RequestCtx
		if err := signed.Set(&ctx, token); err != nil {
			t.Fatal(err)
		}
		var c fasthttp.Cookie
		for _, text := range ctx.Response.Header.Cookies() {
			if err := c.ParseBytes(text); err != nil {
				t.Fatal(err)
			}
		}
		return string(c.Value())
	}
	synctest.Test(t, func(t *testing.T) { longAgo = sign(t) })
	return sign(t), longAgo
}
