package harness

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"
)

// OffsetStream is the header field that the body of an upload needs.
const OffsetStream = "Content-Type: application/offset+octet-stream"

// Resumable is the header field with the version of the protocol.
const Resumable = "Tus-Resumable: 1.0.0"

// TusJSClient is the package of the tus client for browsers and Node.
const TusJSClient = "tus-js-client@4.3.1"

// TusResponse is a response to TusDo.
type TusResponse struct {
	Status int
	Header http.Header
	Body   string
}

// TusDo sends a request on its own connection, so that any process may get it. A
// header field is "Name: value"; Tus-Resumable is added.
func TusDo(g *Server, method, path string, body io.Reader, fields ...string) (a TusResponse, err error) {
	req, err := http.NewRequest(method, g.URL+path, body)
	if err != nil {
		return a, err
	}
	for _, field := range append([]string{Resumable}, fields...) {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
		if value == "" {
			req.Header.Del(name)
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return TusResponse{resp.StatusCode, resp.Header, string(text)}, err
}

// TusMetadata returns the field Upload-Metadata for keys and values in turn.
func TusMetadata(pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return "Upload-Metadata: " + strings.Join(list, ",")
}
