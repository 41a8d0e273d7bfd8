package debugbundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Whatever form a known secret has, it is removed.
func TestKnownSecrets(t *testing.T) {
	const secret = `p@ss/w"ord\x&<é>=`
	r := NewRedactor([]string{secret, "other", "another", "", "x", "redis://user:r%40dis-pw@host:1/2,redis://tok-en-1@host"})
	quoted, err := json.Marshal(map[string]string{"message": "it is " + secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		secret, "before" + secret + "after", string(quoted), url.QueryEscape(secret), url.PathEscape(secret),
		"https://host/?next=" + url.QueryEscape("/a?b="+secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"r@dis-pw", "r%40dis-pw", "tok-en-1",
	} {
		got := r.Text(text)
		for _, s := range []string{secret, "w\"ord", "w%22ord", "w\\\"ord", "dis-pw", "tok-en", base64.RawStdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(got, s) {
				t.Errorf("%s: %s", text, got)
			}
		}
		if !strings.Contains(got, removed) {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := r.Text("anotherother x"); got != removed+removed+" x" {
		t.Errorf("%q", got)
	}
}

// Secrets that nobody has named are found by what is around them.
func TestWhatLooksLikeASecret(t *testing.T) {
	r := NewRedactor(nil)
	for text, want := range map[string]string{
		"dial redis://:hunter2@10.0.0.1:6379/0: refused":                                "dial redis://[removed]@10.0.0.1:6379/0: refused",
		"postgres://app:hu@nter2@db/x?sslmode=off":                                      "postgres://[removed]@db/x?sslmode=off",
		`msg="connect" password=hunter2 host=db`:                                        `msg="connect" password=[removed] host=db`,
		`level=INFO msg=x db_password="hunter 2" n=1`:                                   `level=INFO msg=x db_password="[removed]" n=1`,
		`body="{\"token\":\"hunter 2\",\"n\":1}"`:                                       `body="{\"token\":\"[removed]\",\"n\":1}"`,
		`{"clientSecret": "hun\"ter2", "n": 1}`:                                         `{"clientSecret": "[removed]", "n": 1}`,
		"GET /x?access_token=hunter2&page=3":                                            "GET /x?access_token=[removed]&page=3",
		"GET /b/k?X-Amz-Credential=AK&X-Amz-Signature=hunter2&x=1":                      "GET /b/k?X-Amz-Credential=[removed]&X-Amz-Signature=[removed]&x=1",
		"Authorization: Basic aHVudGVyMg==":                                             "Authorization: [removed]",
		"authorization=Bearer hunter2hunter2\nnext":                                     "authorization=[removed]\nnext",
		"sent Bearer hunter2hunter2 to":                                                 "sent Bearer [removed] to",
		"Sec-WebSocket-Protocol: bearer64.aHVudGVyMg, chat":                             "Sec-WebSocket-Protocol: bearer64.[removed], chat",
		"Cookie: session=hunter2; a=b":                                                  "Cookie: [removed]",
		"key AKIAIOSFODNN7EXAMPLE used":                                                 "key [removed] used",
		"jwt eyJhbGciOi.eyJzdWIiOi.hunter2_-x end":                                      "jwt [removed] end",
		"run mysql --password hunter2 --host db":                                        "run mysql --password [removed] --host db",
		"a\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nb": "a\n[removed]\nb",
		"-----BEGIN PRIVATE KEY-----\\nhunter2 without an end":                          "[removed]",
		"api-key: 'hunter 2' next":                                                      "api-key: '[removed]' next",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	for _, text := range []string{
		`level=INFO msg="child ready" slot=serve.0 pid=12 boot_time=12ms`,
		`gale_http_requests_total{code="200",method="GET",slot="serve.0"} 1`,
		"redis://10.0.0.1:6379/0", "user@example.org",
	} {
		if got := r.Text(text); got != text {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestArguments(t *testing.T) {
	got := NewRedactor(nil).Args([]string{"server", "-token", "hunter2", "-port", "80", "-token-file", "/etc/token", "--api-key=hunter2", "PASSWORD=hunter2", "-redis", "redis://:hunter2@h", "-token=hunter2", "x"})
	want := []string{"server", "-token", removed, "-port", "80", "-token-file", "/etc/token", "--api-key=" + removed, "PASSWORD=" + removed, "-redis", "redis://" + removed + "@h", "-token=" + removed, "x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestEnvironment(t *testing.T) {
	environ := []string{"GALE_TOKEN=hunter2", "GALE_REDIS=redis://:hunter2@h", "HOME=/root", "STRIPE=hunter2", "MAIL_PASSWORD=hunter2 hunter3", "DATABASE_URL=postgres://u:hunter4@h", "TOKEN_TTL=3600", "PIN_SECRET=123456", "OLDPWD=/root", "DB_PWD=hunter5"}
	shown := func(name string) bool { return strings.HasPrefix(name, "GALE_") || name == "HOME" }
	want := []string{"DATABASE_URL=[removed]", "DB_PWD=[removed]", "GALE_REDIS=redis://[removed]@h", "GALE_TOKEN=[removed]", "HOME=/root", "MAIL_PASSWORD=[removed]", "OLDPWD=[removed]", "PIN_SECRET=[removed]", "STRIPE=[removed]", "TOKEN_TTL=[removed]"}
	if got := NewRedactor(nil).Environ(environ, shown); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	got := Secrets(environ)
	for _, secret := range []string{"hunter2", "hunter2 hunter3", "hunter3", "hunter4", "hunter5", "123456"} {
		if !slices.Contains(got, secret) {
			t.Errorf("%s is not in %q", secret, got)
		}
	}
	if slices.Contains(got, "3600") || slices.Contains(got, "/root") {
		t.Errorf("%q", got)
	}
}

func TestJSONStaysValid(t *testing.T) {
	type spec struct {
		Argv, Env []string
		Timeout   int
	}
	r := NewRedactor([]string{"hunter9"})
	text, err := r.JSON(map[string]any{
		"Token": "hunter2", "Redis": "redis://:hunter2@h:1", "TokenFile": "/etc/token", "Empty": map[string]any{"Password": ""},
		"Commands": []spec{{[]string{"run", "--secret", "hunter2", "hunter9"}, []string{"STRIPE=hunter2"}, 5}}, "token_count": 7, "Flags": []any{"a", 1.5},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil || bytes.Contains(text, []byte("hunter")) {
		t.Fatalf("%v: %s", err, text)
	}
	if got["Token"] != removed || got["TokenFile"] != "/etc/token" || got["token_count"] != 7.0 || got["Redis"] != "redis://"+removed+"@h:1" {
		t.Errorf("%s", text)
	}
	// Text leaves it valid, too.
	if again := NewRedactor([]string{"hunter2"}).Text(`{"token":"hunter2","n":1,"url":"redis://:hunter2@h"}`); !json.Valid([]byte(again)) || strings.Contains(again, "hunter2") {
		t.Error(again)
	}
}

func FuzzText(f *testing.F) {
	f.Add("s3cret", "token=", " x")
	f.Add("a\"b\\c", `{"x":"`, `"}`)
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		s := strings.TrimSpace(secret)
		if len(s) < minSecret || strings.ContainsAny(s, "[]") || strings.Contains(removed, s) {
			return
		}
		if got := NewRedactor([]string{secret}).Text(before + secret + after); strings.Contains(got, s) {
			t.Errorf("%q", got)
		}
	})
}
