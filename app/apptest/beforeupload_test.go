package apptest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// deciding is an application that decides about uploads, and records what it is asked.
type deciding struct {
	mu    sync.Mutex
	asked []uploads.Proposal
}

func (d *deciding) application() app.Application {
	return app.Application{
		Authenticate: func(h *fasthttp.RequestHeader) (*app.Identity, error) {
			if user := string(h.Peek("X-User")); user != "" {
				return &app.Identity{Subject: user, Scopes: []string{"write"}}, nil
			}
			return nil, nil
		},
		BeforeUpload: func(_ context.Context, s *app.Services, p uploads.Proposal) (uploads.Decision, error) {
			d.mu.Lock()
			d.asked = append(d.asked, p)
			d.mu.Unlock()
			switch {
			case s == nil || s.Log == nil:
				return uploads.Decision{}, errors.New("no services")
			case strings.HasSuffix(p.Filename, ".exe"):
				return uploads.Decision{}, server.Fail(403, "programs are not accepted")
			case strings.HasSuffix(p.Filename, ".busy"):
				return uploads.Decision{}, server.Fail(503, "later")
			case strings.HasSuffix(p.Filename, ".panic"):
				panic("a fault of the application")
			}
			return uploads.Decision{Directory: "of/" + p.Sender.Subject, MaxSize: 10}, nil
		},
	}
}

// last returns the latest proposal.
func (d *deciding) last() (p uploads.Proposal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.asked); n > 0 {
		p = d.asked[n-1]
	}
	return p
}

// way sends a file as ann in one of the ways to upload. It returns the code of the response,
// the status if the response has no code, and the body.
type way func(t *testing.T, s *apptest.Server, filename, content string) (code int, body string)

func send(t *testing.T, s *apptest.Server, method, path, content string, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-User", "ann")
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

var ways = map[string]way{
	"PUT": func(t *testing.T, s *apptest.Server, filename, content string) (int, string) {
		return send(t, s, "PUT", "/upload/d/"+filename, content)
	},
	"form": func(t *testing.T, s *apptest.Server, filename, content string) (int, string) {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("d", filename)
		if err == nil {
			_, err = io.WriteString(part, content)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return send(t, s, "POST", "/upload", form.String(), "Content-Type", w.FormDataContentType())
	},
	"urlencoded": func(t *testing.T, s *apptest.Server, filename, content string) (int, string) {
		form := url.Values{"directory": {"d"}, "filename": {filename}, "body": {content}}
		return send(t, s, "POST", "/upload", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	},
	"WebSocket": func(t *testing.T, s *apptest.Server, filename, content string) (int, string) {
		address := "ws" + strings.TrimPrefix(s.URL, "http") + "/upload?directory=d&filename=" + filename
		conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), address, http.Header{"X-User": {"ann"}})
		if err != nil && resp != nil {
			body, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		err = errors.Join(conn.WriteMessage(websocket.BinaryMessage, []byte(content)), conn.WriteMessage(websocket.TextMessage, []byte("done")))
		for err == nil {
			var text []byte
			if _, text, err = conn.ReadMessage(); err == nil && strings.Contains(string(text), `"code"`) {
				var r uploads.Response
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				return r.Status(), string(text)
			}
		}
		t.Fatal(err)
		return 0, ""
	},
	"tus": func(t *testing.T, s *apptest.Server, filename, content string) (int, string) {
		encode := base64.StdEncoding.EncodeToString
		status, body := send(t, s, "POST", "/tus/", content, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream",
			"Upload-Defer-Length", "1", "Upload-Metadata", "filename "+encode([]byte(filename))+",directory "+encode([]byte("d"))+",kind "+encode([]byte("note")))
		return status, body
	},
}

// TestBeforeUpload uploads files in every way. The application knows the sender, refuses
// files, moves them and limits their size; what is refused leaves nothing.
func TestBeforeUpload(t *testing.T) {
	t.Parallel()
	var d deciding
	s := apptest.Start(t, d.application(), "-token", "secret", "-upload-types", "*", "-workers", "0")
	for name, upload := range ways {
		filename := name + ".txt"
		status, body := upload(t, s, filename, "0123456789")
		if name == "tus" { // created; its length is not known yet, so it is unfinished
			if status != 201 {
				t.Errorf("%s: %d %s", name, status, body)
			}
		} else if status != 200 || !strings.Contains(body, `"directory":"of/ann","filename":"`+filename+`"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
		p := d.last()
		size := map[string]int64{"PUT": 10, "urlencoded": 10}[name]
		if size == 0 {
			size = -1
		}
		if p.Directory != "d" || p.Filename != filename || p.Size != size || p.Sender.Subject != "ann" || len(p.Sender.Scopes) != 1 || p.Sender.Admin {
			t.Errorf("%s: asked %+v", name, p)
		}
		if name == "tus" && p.Metadata["kind"] != "note" {
			t.Errorf("metadata %v", p.Metadata)
		}
		for file, want := range map[string]int{"a.exe": 403, "a.busy": 503, "a.panic": 500} {
			status, body := upload(t, s, name+file, "x")
			if status != want || want == 403 && !strings.Contains(body, "programs are not accepted") || strings.Contains(body, "fault") {
				t.Errorf("%s %s: %d %s", name, file, status, body)
			}
		}
		if status, body := upload(t, s, name+"-large", "01234567890"); status != 413 {
			t.Errorf("%s: too large: %d %s", name, status, body)
		}
	}
	status, body := send(t, s, "GET", "/upload/of/ann/", "", "Authorization", "Bearer secret")
	var list struct{ Entries []struct{ Name string } }
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || len(list.Entries) != len(ways)-1 {
		t.Errorf("%d %s, %v", status, body, err)
	}
	if status, body := send(t, s, "GET", "/upload/d/", "", "Authorization", "Bearer secret"); status != 404 {
		t.Errorf("the proposed directory: %d %s", status, body)
	}
}

// Who may upload and who may not, with BeforeUpload and a token.
func TestBeforeUploadAccess(t *testing.T) {
	t.Parallel()
	var d deciding
	s := apptest.Start(t, d.application(), "-token", "secret", "-workers", "0")
	for _, row := range []struct {
		method, path string
		fields       []string
		want         int
	}{
		{"PUT", "/upload/d/a.txt", []string{"X-User", ""}, 401},
		{"PUT", "/upload/d/a.txt", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"PUT", "/upload/d/a.txt", nil, 200},
		{"PUT", "/upload/d/b.txt", []string{"X-User", "", "Authorization", "Bearer secret"}, 500}, // "of/" is not a name, which is not the client's fault
		{"GET", "/upload/of/ann/a.txt", nil, 403},
		{"DELETE", "/upload?directory=of/ann&filename=a.txt", nil, 403},
		{"POST", "/tasks", nil, 403},
	} {
		got, body := send(t, s, row.method, row.path, "x", row.fields...)
		if got != row.want {
			t.Errorf("%s %s %v: %d %s, want %d", row.method, row.path, row.fields, got, body, row.want)
		}
	}
	if p := d.last(); !p.Sender.Admin || p.Sender.Subject != "" {
		t.Errorf("the administrator is %+v", p.Sender)
	}
}

// A refusal comes before the content: of a file of 1 GiB the client sends only the first
// 8 KiB, with which a handler starts.
func TestBeforeUploadCostsNoTransfer(t *testing.T) {
	t.Parallel()
	var d deciding
	s := apptest.Start(t, d.application(), "-workers", "0")
	tus := "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Length: 1073741824\r\nUpload-Metadata: filename "
	for _, row := range []struct{ line, fields, want string }{
		{"PUT /upload/d/a.exe", "", "403"},
		{"PUT /upload/d/large", "", "413"},
		{"POST /tus/", tus + "YS5leGU=\r\n", "403"},
		{"POST /tus/", tus + "YQ==\r\n", "413"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testutil.Patience))
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nX-User: ann\r\nContent-Length: 1073741824\r\n%s\r\n%s", row.line, row.fields, strings.Repeat("x", 8<<10))
		status, err := bufio.NewReader(conn).ReadString('\n')
		if fields := strings.Fields(status); err != nil || len(fields) < 2 || fields[1] != row.want {
			t.Errorf("%s: %q, %v; want %s", row.line, status, err, row.want)
		}
	}
}
