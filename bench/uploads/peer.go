package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/galeserver/gale/bench/process"
)

// fileName is the name of the stored file.
const fileName = "file.bin"

// peer is a server and a way to upload to it.
type peer struct {
	name   string
	server *exec.Cmd
	path   string // path of the stored file
	upload func(ctx context.Context, size int64) error
}

// gale builds Gale and starts it with one serve child, for uploads by form.
func gale(ctx context.Context, dir string) (*peer, error) {
	binary := filepath.Join(dir, "server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return beginGale(ctx, dir, "gale, a form", form)
}

// galeTus starts another Gale for uploads by tus: a POST and one PATCH.
func galeTus(ctx context.Context, dir string) (*peer, error) {
	return beginGale(ctx, dir, "gale, tus", resumable)
}

func beginGale(ctx context.Context, dir, name string, upload func(ctx context.Context, port string, size int64) error) (*peer, error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, name)
	p := &peer{name: name, path: filepath.Join(data, "uploads/bench", fileName)}
	p.server, err = process.Begin(ctx, port, filepath.Join(dir, "server"), "serve", "-port", port, "-procs", "1", "-workers", "0",
		"-data", data, "-admin", "", "-on-upload", "", "-log-level", "warn")
	p.upload = func(ctx context.Context, size int64) error { return upload(ctx, port, size) }
	return p, err
}

// nginx starts nginx with the dav module.
func nginx(ctx context.Context, dir string) (*peer, error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "nginx")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`daemon off; user root; worker_processes 1; error_log stderr; pid %[1]s/pid;
events {}
http {
	access_log off;
	client_max_body_size 0;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/a; fastcgi_temp_path %[1]s/b; uwsgi_temp_path %[1]s/c; scgi_temp_path %[1]s/d;
	server { listen 127.0.0.1:%[2]s; root %[1]s; dav_methods PUT; }
}
`, root, port)
	if os.Getuid() != 0 {
		config = strings.Replace(config, "user root; ", "", 1)
	}
	file := filepath.Join(root, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &peer{name: "nginx, sha256sum, sync", path: filepath.Join(root, fileName)}
	p.server, err = process.Begin(ctx, port, "nginx", "-p", root, "-e", "stderr", "-c", file)
	p.upload = func(ctx context.Context, size int64) error {
		err := send(ctx, http.MethodPut, port, "/"+fileName, "application/octet-stream", io.LimitReader(&pattern{}, size), size)
		if err != nil {
			return err
		}
		return sumAndSync(ctx, p.path)
	}
	return p, err
}

// sumAndSync computes the SHA-256 of a file and writes the file to disk, for servers that do
// neither.
func sumAndSync(ctx context.Context, path string) error {
	for _, command := range []string{"sha256sum", "sync"} {
		if out, err := exec.CommandContext(ctx, command, path).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	return nil
}

// tusd builds and starts tusd, for uploads by tus: a POST and one PATCH.
func tusd(ctx context.Context, dir string) (*peer, error) {
	binary := filepath.Join(dir, "tusd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", "bench/peers", "-o", binary, "./tusd").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build tusd: %w\n%s", err, out)
	}
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "tusd-files")
	p := &peer{name: "tusd, sha256sum, sync"}
	p.server, err = process.Begin(ctx, port, binary, port, root)
	p.upload = func(ctx context.Context, size int64) error {
		location, _, err := sendTus(ctx, port, size)
		if err != nil {
			return err
		}
		p.path = filepath.Join(root, path.Base(location))
		return sumAndSync(ctx, p.path)
	}
	return p, err
}

// tornado starts the upload handler on Tornado.
func tornado(ctx context.Context, dir string) (*peer, error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "tornado")
	p := &peer{name: "Tornado, no SHA-256", path: filepath.Join(root, "bench", fileName)}
	// Debian's tornado needs Debian's Python.
	p.server, err = process.Begin(ctx, port, "/usr/bin/python3", "bench/uploads/tornado_upload.py", port, root)
	p.upload = func(ctx context.Context, size int64) error { return form(ctx, port, size) }
	return p, err
}

// form sends the file as multipart/form-data.
func form(ctx context.Context, port string, size int64) error {
	head := "--b\r\nContent-Disposition: form-data; name=\"bench\"; filename=\"" + fileName + "\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n"
	const tail = "\r\n--b--\r\n"
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(&pattern{}, size), strings.NewReader(tail))
	return send(ctx, http.MethodPost, port, "/upload", "multipart/form-data; boundary=b", body, int64(len(head)+len(tail))+size)
}

// resumable sends the whole file to Gale by tus.
func resumable(ctx context.Context, port string, size int64) error {
	_, done, err := sendTus(ctx, port, size)
	if err == nil && done.Get("Repr-Digest") == "" {
		err = errors.New("the upload is not stored")
	}
	return err
}

// sendTus sends the whole file by tus in one PATCH. It returns the URL of the upload and the
// header of the last response.
func sendTus(ctx context.Context, port string, size int64) (location string, done http.Header, err error) {
	encode := base64.StdEncoding.EncodeToString
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+port+"/tus/", nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
	req.Header.Set("Upload-Metadata", "filename "+encode([]byte(fileName))+",directory "+encode([]byte("bench")))
	created, err := do(req)
	if err != nil {
		return "", nil, err
	}
	upload, err := req.URL.Parse(created.Get("Location")) // a path, or a whole URL
	if err != nil {
		return "", nil, err
	}
	req, err = http.NewRequestWithContext(ctx, http.MethodPatch, upload.String(), io.LimitReader(&pattern{}, size))
	if err != nil {
		return "", nil, err
	}
	req.ContentLength = size
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Offset", "0")
	req.Header.Set("Content-Type", "application/offset+octet-stream")
	done, err = do(req)
	return upload.Path, done, err
}

func send(ctx context.Context, method, port, path, contentType string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+port+path, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", contentType)
	_, err = do(req)
	return err
}

// do sends a request that must succeed, and returns the header of the response.
func do(req *http.Request) (http.Header, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // has been read
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return resp.Header, err
}

// pattern is a reader of endless content that file systems cannot compress. The client only
// copies it, so it costs little CPU time.
type pattern struct{ at int }

var block = func() []byte {
	b := make([]byte, 1<<20+7) // not a multiple of the disk's block size
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, block[p.at:])
	p.at = (p.at + n) % len(block)
	return n, nil
}
