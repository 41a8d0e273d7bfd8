//go:build e2e

package uploads_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Of the memory that slow uploads may take, 16 MiB are for the 64 large chunks of a process. The
// rest is for each upload: its small chunk, its connection, and garbage. It is half of what is
// received of each file before the memory is read.
const (
	maxSlowChunks = 16 << 20
	maxSlowUpload = 192 << 10
)

// TestE2ESlowUploads sends 500 files slowly at the same time, half by form and half by tus. All
// arrive whole, none is refused, a fast upload is not blocked, and the memory is bounded.
func TestE2ESlowUploads(t *testing.T) {
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-on-upload", "")
	const uploads, size = 500, 512 << 10
	idle, most := g.Memory(t), int64(0)
	var begun atomic.Int64
	var clients sync.WaitGroup
	finish := make(chan struct{})
	for i := range uploads {
		content := harness.UploadContent(i, size)
		clients.Go(func() { // ends after finish is closed
			send := slowForm
			if i%2 == 1 {
				send = slowTus
			}
			if err := send(g, i, content, &begun, finish); err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	testutil.Eventually(t, "all have sent most of their file", func() bool {
		most = max(most, g.Memory(t))
		return begun.Load() == uploads || t.Failed()
	})
	contentType, body := harness.UploadForm("quick", "a", []byte("content"))
	if a, err := postUpload(g, contentType, body); err != nil || a.Code != 200 {
		t.Errorf("a fast upload: %+v, %v", a, err)
	}
	close(finish)
	clients.Wait()
	most = max(most, g.Memory(t))
	t.Logf("memory: %.1f MiB idle, %.1f MiB with %d slow uploads", float64(idle)/(1<<20), float64(most)/(1<<20), uploads)
	if bound := idle + maxSlowChunks + uploads*maxSlowUpload; most > bound {
		t.Errorf("%d MiB of memory, want at most %d", most>>20, bound>>20)
	}
}

// slowForm sends a form.
func slowForm(g *harness.Server, i int, content []byte, begun *atomic.Int64, finish <-chan struct{}) error {
	contentType, body := harness.UploadForm("slow", fmt.Sprint(i), content)
	head := fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", contentType, len(body))
	response, err := sendInPieces(g, head, body, begun, finish)
	if err == nil && !strings.Contains(response, sumOf(content)) {
		err = fmt.Errorf("response %q", response)
	}
	return err
}

// slowTus is slowForm for a resumable upload.
func slowTus(g *harness.Server, i int, content []byte, begun *atomic.Int64, finish <-chan struct{}) error {
	created, err := harness.TusDo(g, "POST", "/tus/", http.NoBody, fmt.Sprintf("Upload-Length: %d", len(content)),
		harness.TusMetadata("filename", fmt.Sprint(i), "directory", "slow"))
	if err != nil || created.Status != http.StatusCreated {
		begun.Add(1)
		return fmt.Errorf("create: %+v, %w", created, err)
	}
	head := fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: %d\r\n\r\n",
		created.Header.Get("Location"), len(content))
	response, err := sendInPieces(g, head, content, begun, finish)
	if err == nil && !strings.HasPrefix(response, "HTTP/1.1 204 ") {
		err = fmt.Errorf("response %q", response)
	}
	if err != nil {
		return err
	}
	stored, err := harness.TusDo(g, "GET", fmt.Sprintf("/upload/slow/%d", i), http.NoBody)
	if err == nil && sumOf([]byte(stored.Body)) != sumOf(content) {
		err = fmt.Errorf("%d bytes are stored, status %d", len(stored.Body), stored.Status)
	}
	return err
}

// sendInPieces sends three quarters of a body in small pieces, and the rest when finish is closed.
func sendInPieces(g *harness.Server, head string, body []byte, begun *atomic.Int64, finish <-chan struct{}) (response string, err error) {
	once := sync.OnceFunc(func() { begun.Add(1) })
	defer once() // also after an error
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * testutil.Patience))
	if _, err := io.WriteString(conn, head); err != nil {
		return "", err
	}
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	first, rest := body[:len(body)*3/4], body[len(body)*3/4:]
	for piece := range slices.Chunk(first, 8<<10) {
		if _, err := conn.Write(piece); err != nil {
			return "", err
		}
		<-pause.C
	}
	once()
	<-finish
	if _, err := conn.Write(rest); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(bytes.TrimSpace(all)), err
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
