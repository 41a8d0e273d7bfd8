package openapi

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/app"
)

// Fields of requests.
const (
	stranger   = "Authorization: "
	jsonBody   = "Content-Type: application/json"
	formBody   = "Content-Type: application/x-www-form-urlencoded"
	tusVersion = "Tus-Resumable: 1.0.0"
	tusBytes   = "Content-Type: application/offset+octet-stream"
	foreign    = "Sec-Fetch-Site: cross-site"
)

// handshake are the fields of a WebSocket's handshake.
var handshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// Every response of the platform has the status, the fields and the body that the
// description says, and every request here is one that it permits.
func TestResponses(t *testing.T) {
	t.Parallel()
	c := converse(t, app.Platform{}, "-max-upload", "1000", "-admin", "unix:"+filepath.Join(t.TempDir(), "admin"))
	c.tasks()
	c.workers()
	c.workflows()
	c.uploads()
	c.tus()
	c.channels()
	c.console()
	c.others()
	c.complete()
}

func (c *conversation) tasks() {
	_, body := c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","args":[{"customer":"Ann"}],"max_retries":2,"timeout":"1m"}`, []string{jsonBody}, 202})
	id := member(c.T, body, "id")
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","kwargs":{"customer":"Ann"},"id":"mine"}`, []string{jsonBody}, 202})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","kwargs":{"customer":"Ann"},"id":"mine"}`, []string{jsonBody}, 200})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","priority":1}`, []string{jsonBody}, 400})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"none"}`, []string{jsonBody}, 404})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"none"}`, []string{jsonBody, "Content-Encoding: gzip"}, 415})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"none"}`, []string{jsonBody, stranger}, 401})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"none"}`, []string{jsonBody, foreign}, 403})
	_, body = c.send(exchange{"getTask", "GET", "/tasks/" + id + "?wait=30s", "", nil, 200})
	if state := member(c.T, body, "state"); state != "success" {
		c.Fatalf("%s", body)
	}
	c.send(exchange{"getTask", "GET", "/tasks/" + id + "?wait=never", "", nil, 400})
	c.send(exchange{"getTask", "GET", "/tasks/none", "", nil, 404})
	c.send(exchange{"getTask", "GET", "/tasks/none", "", []string{stranger}, 401})
	c.send(exchange{"listTasks", "GET", "/tasks?state=success&limit=1", "", nil, 200})
	c.send(exchange{"listTasks", "GET", "/tasks", "", nil, 200})
	c.send(exchange{"listTasks", "GET", "/tasks?state=lost", "", nil, 400})
	c.send(exchange{"listTasks", "GET", "/tasks?q=Ann&since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z", "", nil, 200})
	c.send(exchange{"listTasks", "GET", "/tasks?since=today", "", nil, 400})
	c.send(exchange{"cancelTasks", "POST", "/tasks/cancel", `{"state":"failed","task":"print"}`, []string{jsonBody}, 200})
	c.send(exchange{"cancelTasks", "POST", "/tasks/cancel", `{}`, []string{jsonBody}, 400})
	c.send(exchange{"purgeTasks", "POST", "/tasks/purge", `{"q":"nobody","since":"2020-01-01T00:00:00Z","until":"2100-01-01T00:00:00Z"}`, []string{jsonBody}, 200})
	c.send(exchange{"purgeTasks", "POST", "/tasks/purge", `{"since":"today"}`, []string{jsonBody}, 400})
	c.send(exchange{"purgeTasks", "POST", "/tasks/purge", `{"ids":["none"]}`, []string{jsonBody, stranger}, 401})
	c.send(exchange{"retryTasks", "POST", "/tasks/retry", `{"ids":["none"]}`, []string{jsonBody}, 200})
	c.send(exchange{"retryTasks", "POST", "/tasks/retry", `{"ids":["none"]}`, []string{jsonBody, stranger}, 401})
	c.send(exchange{"pauseQueue", "POST", "/queues/later/pause", "", nil, 200})
	c.send(exchange{"pauseQueue", "POST", "/queues/~/pause", "", nil, 400})
	c.send(exchange{"listQueues", "GET", "/queues", "", nil, 200})
	c.send(exchange{"resumeQueue", "POST", "/queues/later/resume", "", nil, 200})
	c.send(exchange{"listSchedules", "GET", "/schedules", "", nil, 200})
	c.send(exchange{"runSchedule", "POST", "/schedules/nightly/run", "", nil, 202})
	c.send(exchange{"runSchedule", "POST", "/schedules/none/run", "", nil, 404})
	c.send(exchange{"listTaskTypes", "GET", "/tasks/types", "", nil, 200})
	c.send(exchange{"listTaskTypes", "GET", "/tasks/types", "", []string{stranger}, 401})
	c.send(exchange{"getTaskLog", "GET", "/tasks/" + id + "/log", "", nil, 200})
	c.send(exchange{"getTaskLog", "GET", "/tasks/none/log", "", nil, 404})
	file := "/tasks/" + id + "/artifacts/receipt.txt"
	c.send(exchange{"getTaskArtifact", "GET", file, "", nil, 200})
	c.send(exchange{"getTaskArtifact", "GET", file, "", []string{"Range: bytes=1-2"}, 206})
	c.send(exchange{"getTaskArtifact", "GET", file, "", []string{"Range: bytes=100-"}, 416})
	c.send(exchange{"getTaskArtifact", "GET", "/tasks/" + id + "/artifacts/none", "", nil, 404})
	c.send(exchange{"watchTask", "GET", "/tasks/" + id + "/watch", "", handshake, 101})
	c.send(exchange{"watchTask", "GET", "/tasks/" + id + "/watch", "", nil, 426})
	c.send(exchange{"watchTask", "GET", "/tasks/none/watch", "", handshake, 404})

	_, body = c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","kwargs":{"customer":"fails"}}`, []string{jsonBody}, 202})
	failed := member(c.T, body, "id")
	c.send(exchange{"getTask", "GET", "/tasks/" + failed + "?wait=30s", "", nil, 200})
	c.send(exchange{"retryTask", "POST", "/tasks/" + failed + "/retry", "", nil, 200})
	c.send(exchange{"retryTask", "POST", "/tasks/" + id + "/retry", "", nil, 409})
	c.send(exchange{"retryTask", "POST", "/tasks/none/retry", "", nil, 404})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","kwargs":{"customer":"Ann"},"id":"later","countdown":3600}`, []string{jsonBody}, 202})
	c.send(exchange{"cancelTask", "DELETE", "/tasks/later", "", nil, 200})
	c.send(exchange{"cancelTask", "DELETE", "/tasks/" + id, "", nil, 409})
	c.send(exchange{"cancelTask", "DELETE", "/tasks/none", "", nil, 404})
}

func (c *conversation) workers() {
	_, body := c.send(exchange{"announceWorker", "POST", "/workers/announce", `{"worker":"w","version":"1","tasks":[{"name":"count"}]}`, []string{jsonBody}, 200})
	session := member(c.T, body, "session")
	c.send(exchange{"announceWorker", "POST", "/workers/announce", `{"worker":"w","tasks":[{"name":""}]}`, []string{jsonBody}, 400})
	for range 2 {
		c.send(exchange{"createTask", "POST", "/tasks", `{"task":"count","args":["a b"]}`, []string{jsonBody}, 202})
	}
	_, body = c.send(exchange{"leaseTasks", "POST", "/workers/lease", `{"session":"` + session + `","queues":["default"],"max":2,"wait":25,"holds":[]}`, []string{jsonBody}, 200})
	var leased struct{ Leases []struct{ Lease string } }
	if err := json.Unmarshal(body, &leased); err != nil || len(leased.Leases) != 2 {
		c.Fatalf("%s: %v", body, err)
	}
	first, second := leased.Leases[0].Lease, leased.Leases[1].Lease
	c.send(exchange{"leaseTasks", "POST", "/workers/lease", `{"session":"w~none","queues":["default"],"max":1,"wait":0,"holds":[]}`, []string{jsonBody}, 410})
	c.send(exchange{"reportProgress", "POST", "/workers/progress", `[{"lease":"` + first + `","progress":50,"note":"half"}]`, []string{jsonBody}, 200})
	c.send(exchange{"appendTaskLogs", "POST", "/workers/log", `[{"lease":"` + first + `","lines":"counting\n"}]`, []string{jsonBody}, 200})
	c.send(exchange{"putTaskArtifact", "PUT", "/workers/artifacts/" + first + "/words.txt", "a b", []string{"Content-Type: application/octet-stream"}, 200})
	c.send(exchange{"putTaskArtifact", "PUT", "/workers/artifacts/none/words.txt", "a b", []string{"Content-Type: application/octet-stream"}, 400})
	c.send(exchange{"extendLeases", "POST", "/workers/extend", `{"session":"` + session + `","holds":["` + first + `","` + second + `"],"wait":0}`, []string{jsonBody}, 200})
	c.send(exchange{"finishAttempts", "POST", "/workers/finish", `[{"lease":"` + first + `","state":"success","result":2,"artifacts":["words.txt"]}]`, []string{jsonBody}, 200})
	c.send(exchange{"releaseTasks", "POST", "/workers/release", `[{"lease":"` + second + `","delay":1}]`, []string{jsonBody}, 200})
}

func (c *conversation) workflows() {
	_, body := c.send(exchange{"createTask", "POST", "/tasks", `{"chain":[{"task":"print","kwargs":{"customer":"Ann"}},{"task":"print","kwargs":{"customer":"Bea"},"immutable":true}]}`, []string{jsonBody}, 202})
	chain := member(c.T, body, "id")
	c.send(exchange{"getWorkflow", "GET", "/workflows/" + chain + "?wait=30s", "", nil, 200})
	c.send(exchange{"getWorkflow", "GET", "/workflows/none", "", nil, 404})
	c.send(exchange{"createTask", "POST", "/tasks", `{"id":"chord","group":[{"task":"print","kwargs":{"customer":"Ann"},"countdown":"1h"}],"callback":{"task":"print","kwargs":{"customer":"Bea"},"immutable":true}}`, []string{jsonBody}, 202})
	c.send(exchange{"cancelWorkflow", "DELETE", "/workflows/chord", "", nil, 200})
	c.send(exchange{"cancelWorkflow", "DELETE", "/workflows/" + chain, "", nil, 409})
	c.send(exchange{"createTask", "POST", "/tasks", `{"task":"print","kwargs":{"customer":"Ann"},"id":"chord"}`, []string{jsonBody}, 409})
}

func (c *conversation) uploads() {
	const multipart = "Content-Type: multipart/form-data; boundary=cut"
	part := func(filename, content string) string {
		return "--cut\r\nContent-Disposition: form-data; name=\"letters\"; filename=\"" + filename + "\"\r\n\r\n" + content + "\r\n--cut--\r\n"
	}
	c.send(exchange{"upload", "POST", "/upload?id=watched", part("a.txt", "hello"), []string{multipart}, 200})
	c.send(exchange{"upload", "POST", "/upload", part("a.txt", "hello"), []string{multipart}, 409})
	c.send(exchange{"upload", "POST", "/upload", part("../a", "hello"), []string{multipart}, 400})
	c.send(exchange{"upload", "POST", "/upload", part("b.txt", strings.Repeat("x", 1001)), []string{multipart}, 413})
	c.send(exchange{"upload", "POST", "/upload?id=%20", part("b.txt", "hello"), []string{multipart}, 400})
	c.send(exchange{"upload", "POST", "/upload", "directory=letters&filename=a.wav&body=RIFF", []string{formBody}, 200})
	c.send(exchange{"upload", "POST", "/upload", "directory=letters&filename=a.txt&body=RIFF", []string{formBody}, 415})
	c.send(exchange{"upload", "POST", "/upload", "", []string{multipart, stranger}, 401})
	c.send(exchange{"putFile", "PUT", "/upload/letters/put.txt?id=watched", "hello", []string{"Content-Type: application/octet-stream"}, 200})
	c.send(exchange{"putFile", "PUT", "/upload/letters/put.txt", "hello", nil, 409})
	c.send(exchange{"putFile", "PUT", "/upload/letters/put.txt", "hello", []string{"If-Match: *"}, 412})
	c.send(exchange{"putFile", "PUT", "/upload/letters/.put", "hello", nil, 400})
	c.send(exchange{"putFile", "PUT", "/upload/letters/b.txt", strings.Repeat("x", 1001), nil, 413})
	c.send(exchange{"getFile", "GET", "/upload/letters/a.txt", "", nil, 200})
	c.send(exchange{"getFile", "GET", "/upload/letters/a.txt", "", []string{"Range: bytes=0-1"}, 206})
	c.send(exchange{"getFile", "GET", "/upload/letters/a.txt", "", []string{"Range: bytes=9-"}, 416})
	c.send(exchange{"getFile", "GET", "/upload/letters/a.txt", "", []string{"If-None-Match: *"}, 304})
	c.send(exchange{"getFile", "GET", "/upload/letters/a.txt", "", []string{`If-Match: "another"`}, 412})
	c.send(exchange{"getFile", "GET", "/upload/letters/none.txt", "", nil, 404})
	c.send(exchange{"listFiles", "GET", "/upload/letters/?limit=1", "", nil, 200})
	c.send(exchange{"listFiles", "GET", "/upload/letters/?limit=0", "", nil, 400})
	c.send(exchange{"listFiles", "GET", "/upload/none/", "", nil, 404})
	c.send(exchange{"uploadByWebSocket", "GET", "/upload?directory=letters&filename=c.txt", "", handshake, 101})
	c.send(exchange{"uploadByWebSocket", "GET", "/upload?directory=letters&filename=a.txt", "", handshake, 409})
	c.send(exchange{"uploadByWebSocket", "GET", "/upload?directory=letters&filename=c.txt", "", nil, 426})
	c.send(exchange{"deleteFile", "DELETE", "/upload?directory=letters&filename=a.wav", "", nil, 200})
	c.send(exchange{"deleteFile", "DELETE", "/upload?directory=letters", "", nil, 400})
}

func (c *conversation) tus() {
	name := "Upload-Metadata: filename " + base64.StdEncoding.EncodeToString([]byte("t.txt"))
	resp, _ := c.send(exchange{"createResumableUpload", "POST", "/tus/", "", []string{tusVersion, "Upload-Length: 5", name}, 201})
	one := resp.Header.Get("Location")
	c.send(exchange{"createResumableUpload", "POST", "/tus/", "", []string{tusVersion, name}, 400})
	c.send(exchange{"createResumableUpload", "POST", "/tus/", "", []string{tusVersion, "Upload-Length: 5000", name}, 413})
	c.send(exchange{"createResumableUpload", "POST", "/tus/", "", []string{"Upload-Length: 5", name}, 412})
	c.send(exchange{"continueResumableUpload", "PATCH", one, "hel", []string{tusVersion, tusBytes, "Upload-Offset: 0"}, 204})
	c.send(exchange{"continueResumableUpload", "PATCH", one, "hel", []string{tusVersion, tusBytes, "Upload-Offset: 0"}, 409})
	c.send(exchange{"continueResumableUpload", "PATCH", one, "lo", []string{tusVersion, tusBytes, "Upload-Offset: 3", "Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, 460})
	c.send(exchange{"continueResumableUpload", "PATCH", one, "lo", []string{tusVersion, "Upload-Offset: 3"}, 415})
	c.send(exchange{"getResumableOffset", "HEAD", one, "", []string{tusVersion}, 200})
	c.send(exchange{"getResumableUpload", "GET", one, "", nil, 200})
	c.send(exchange{"getResumableUpload", "GET", "/tus/none", "", nil, 404})
	c.send(exchange{"overrideResumableUpload", "POST", one, "l", []string{tusVersion, tusBytes, "Upload-Offset: 3", "X-HTTP-Method-Override: PATCH"}, 204})
	c.send(exchange{"overrideResumableUpload", "POST", "/tus/none", "", []string{tusVersion, "X-HTTP-Method-Override: DELETE"}, 404})
	c.send(exchange{"deleteResumableUpload", "DELETE", one, "", []string{tusVersion}, 204})
	c.send(exchange{"deleteResumableUpload", "DELETE", one, "", []string{tusVersion}, 410})
	resp, _ = c.send(exchange{"createResumableUpload", "POST", "/tus/", "hello", []string{tusVersion, tusBytes, "Upload-Length: 5", name}, 201})
	if resp.Header.Get("Upload-Offset") != "5" {
		c.Errorf("the upload is not whole: %v", resp.Header)
	}
	c.send(exchange{"createResumableUpload", "POST", "/tus/", "", []string{tusVersion, "Upload-Length: 5", name}, 409})
	c.send(exchange{"getTusOptions", "OPTIONS", "/tus/", "", []string{stranger}, 204})
	c.send(exchange{"getTusUploadOptions", "OPTIONS", one, "", []string{stranger}, 204})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodDelete} {
		if _, resp := request(c.T, c.server, method, "/tus/", "", tusVersion); resp.StatusCode != http.StatusMethodNotAllowed {
			c.Errorf("%s /tus/, which is not described: %d", method, resp.StatusCode)
		}
	}
}

func (c *conversation) channels() {
	c.send(exchange{"publish", "POST", "/publish/letters", "hello", []string{"Content-Type: text/plain"}, 200})
	c.send(exchange{"publish", "POST", "/publish/.own", "hello", []string{"Content-Type: text/plain"}, 400})
	c.send(exchange{"publish", "POST", "/publish/letters", "hello", []string{foreign}, 403})
	c.send(exchange{"subscribe", "GET", "/events/letters?since=0", "", nil, 200})
	c.send(exchange{"subscribe", "GET", "/events/letters?since=x", "", nil, 400})
	c.send(exchange{"subscribeByWebSocket", "GET", "/channels/letters", "", handshake, 101})
	c.send(exchange{"subscribeByWebSocket", "GET", "/channels/letters", "", append(handshake, stranger, "Sec-WebSocket-Protocol: bearer."+secret), 101})
	c.send(exchange{"subscribeByWebSocket", "GET", "/channels/letters", "", nil, 426})
	c.send(exchange{"longPoll", "GET", "/longpoll?s=0", "", nil, 200})
	c.send(exchange{"longPoll", "GET", "/longpoll?s=99", "", nil, 400})
}

func (c *conversation) console() {
	c.send(exchange{"console", "GET", "/console", "", nil, 200})
	c.send(exchange{"console", "GET", "/console", "", []string{stranger}, 303})
	c.send(exchange{"getConsoleFile", "GET", "/console/app.js", "", nil, 200})
	c.send(exchange{"getConsoleFile", "GET", "/console/none.js", "", nil, 404})
	c.send(exchange{"getConsoleStyle", "GET", "/console/style.css", "", nil, 200})
	c.send(exchange{"watchConsole", "GET", "/console/live", "", handshake, 101})
	c.send(exchange{"watchConsole", "GET", "/console/live", "", append(handshake, stranger), 401})
	c.send(exchange{"getHistory", "GET", "/console/history", "", nil, 200})
	c.send(exchange{"getHistory", "GET", "/console/history", "", []string{stranger}, 401})
	c.send(exchange{"showLogin", "GET", "/console/login", "", []string{stranger}, 200})
	c.send(exchange{"showLogin", "GET", "/console/login", "", nil, 303})
	c.send(exchange{"login", "POST", "/console/login", "token=" + secret, []string{formBody}, 303})
	c.send(exchange{"login", "POST", "/console/login", "token=another", []string{formBody}, 403})
	c.send(exchange{"login", "POST", "/console/login", "token=" + secret, []string{formBody, foreign}, 403})
	for range 8 {
		if _, resp := request(c.T, c.server, http.MethodPost, "/console/login", "token=another", formBody); resp.StatusCode != http.StatusForbidden {
			c.Errorf("login: %d", resp.StatusCode)
		}
	}
	c.send(exchange{"login", "POST", "/console/login", "token=another", []string{formBody}, 429})
	c.send(exchange{"logout", "POST", "/console/logout", "", nil, 303})
	c.send(exchange{"logout", "POST", "/console/logout", "", []string{foreign}, 403})
}

func (c *conversation) others() {
	c.send(exchange{"health", "GET", "/healthz", "", []string{stranger}, 200})
	c.send(exchange{"getStaticFile", "GET", "/static/css%2Fa.css", "", nil, 200})
	c.send(exchange{"getStaticFile", "GET", "/static/none.css", "", nil, 404})
	c.send(exchange{"describe", "GET", "/openapi.json", "", nil, 200})
	c.send(exchange{"describe", "GET", "/openapi.json", "", []string{stranger}, 401})
}

// A response that breaks the description is found.
func TestValidatorFindsFaults(t *testing.T) {
	t.Parallel()
	c := converse(t, app.Platform{})
	req, resp := request(t, c.server, http.MethodGet, "/tasks", "")
	if read(t, resp); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	for _, body := range []string{`{"tasks":[]}`, `{"tasks":[{"id":"a"}],"next":null}`, `[]`} {
		resp.Body = io.NopCloser(strings.NewReader(body))
		if valid, _ := c.validator.ValidateHttpResponse(req, resp); valid {
			t.Errorf("%s is valid", body)
		}
	}
}
