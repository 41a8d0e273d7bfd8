package uploads_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

// uploadEvent is a message of a channel upload:ID.
type uploadEvent struct {
	Upload          string
	Received, Total int64
	Answer          *harness.UploadResponse
}

// nextUploadEvent reads the next event of a subscription.
func nextUploadEvent(t *testing.T, conn *websocket.Conn) (e uploadEvent) {
	t.Helper()
	var n struct{ Event, Data string }
	for n.Data == "" {
		if err := conn.ReadJSON(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal([]byte(n.Data), &e); err != nil {
		t.Fatalf("%s: %v", n.Data, err)
	}
	return e
}

func watchUpload(t *testing.T, g *harness.Server, id string) *websocket.Conn {
	t.Helper()
	conn := harness.Socket(t, g, "/channels/upload:"+id)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	var first struct{ Event string }
	if err := conn.ReadJSON(&first); err != nil || first.Event != "subscribed" {
		t.Fatalf("%+v, %v", first, err)
	}
	return conn
}

// While the body of a form arrives, progress is published to subscribers in every
// process. The last message contains the response to the form.
func TestUploadEvents(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2")
	watchers := []*websocket.Conn{}
	for range 4 {
		watchers = append(watchers, watchUpload(t, g, "form.1"))
	}
	head, tail := "--x\r\nContent-Disposition: form-data; name=\"d\"; filename=\"a.bin\"\r\n\r\n"+strings.Repeat("a", 1000), "b\r\n--x--\r\n"
	total := int64(len(head) + len(tail))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /upload?id=form.1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n%s", total, head)
	for _, w := range watchers {
		if e := nextUploadEvent(t, w); e.Upload != "form.1" || e.Received != int64(len(head)) || e.Total != total || e.Answer != nil {
			t.Errorf("%+v; want %d of %d", e, len(head), total)
		}
	}
	if _, err := io.WriteString(conn, tail); err != nil {
		t.Fatal(err)
	}
	for _, w := range watchers {
		if e := nextUploadEvent(t, w); e.Received != total || e.Answer == nil || e.Answer.Code != 200 || e.Answer.Files[0].Size != 1001 {
			t.Errorf("%+v; want %d and the response", e, total)
		}
	}
}

// An upload whose connection is lost publishes its failure.
func TestUploadEventsOfLostConnection(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2")
	for _, cut := range []bool{false, true} {
		id := fmt.Sprint("socket-", cut)
		watcher := watchUpload(t, g, id)
		conn := uploadSocket(t, g, "?filename=a.bin&id="+id, nil)
		harness.SendMessage(t, conn, websocket.BinaryMessage, "12345")
		if e := nextUploadEvent(t, watcher); e.Received != 5 || e.Answer != nil {
			t.Errorf("%+v", e)
		}
		want := 200
		if cut {
			want = 400
			conn.Close()
		} else {
			harness.SendMessage(t, conn, websocket.TextMessage, "done")
			_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		}
		if e := nextUploadEvent(t, watcher); e.Received != 5 || e.Answer == nil || e.Answer.Code != want {
			t.Errorf("%+v; want %d", e, want)
		}
		if code := harness.SendJSON(t, "DELETE", g.URL+"/upload?directory=websocket&filename=a.bin", "", new(harness.UploadResponse)); code != 200 {
			t.Errorf("DELETE: %d", code)
		}
	}
	for path, want := range map[string]string{"/upload?id=a:b": "id: ", "/publish/upload:x": "colon"} {
		resp, err := http.Post(g.URL+path, "text/plain", strings.NewReader("a"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// The channel of a resumable upload is named by the id in its URL.
func TestResumableUploadEvents(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2")
	tus := func(method, address, body string, fields ...string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, g.URL+address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Tus-Resumable", "1.0.0")
		req.Header.Set("Content-Type", "application/offset+octet-stream")
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s", method, address, resp.Status)
		}
		return resp
	}
	address := tus("POST", "/tus/", "", "Upload-Length: 11", "Upload-Metadata: filename YS5iaW4=").Header.Get("Location")
	_, id, _ := strings.Cut(address, "/tus/")
	watcher := watchUpload(t, g, id)
	tus("PATCH", "/tus/"+id, "12345", "Upload-Offset: 0")
	if e := nextUploadEvent(t, watcher); e.Upload != id || e.Received != 5 || e.Total != 11 || e.Answer != nil {
		t.Errorf("%+v", e)
	}
	tus("PATCH", "/tus/"+id, "678901", "Upload-Offset: 5")
	for {
		e := nextUploadEvent(t, watcher)
		if e.Received != 11 || e.Total != 11 {
			t.Errorf("%+v", e)
		}
		if e.Answer != nil {
			if e.Answer.Code != 200 || e.Answer.Files[0].Size != 11 {
				t.Errorf("%+v", e.Answer)
			}
			return
		}
	}
}
