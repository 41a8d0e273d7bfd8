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

// fileName is the name of the stored file, and directory the one in Gale and Tornado.
const fileName, directory = "file.bin", "bench"

// peer is a server and a way to upload to it.
type peer struct {
	name   string
	server *exec.Cmd
	addr   string                                      // 127.0.0.1:PORT
	folder string                                      // folder of the stored files
	path   string                                      // path of the stored large file
	upload func(ctx context.Context, size int64) error // uploads a large file
	send   sender                                      // uploads a small file
	after  func(path string) error                     // what the client does after a small file; nil: nothing
	admin  string                                      // address of the admin endpoint of Gale
}

// starter starts a server in a folder.
type starter func(ctx context.Context, dir string) (*peer, error)

// named starts a server that gets another name in the figure.
func named(name string, start starter) starter {
	return func(ctx context.Context, dir string) (*peer, error) {
		p, err := start(ctx, dir)
		p.name = name
		return p, err
	}
}

// begin starts servers in a folder, one after another. end must be called, also after an error.
func begin(ctx context.Context, dir string, all ...starter) (peers []*peer, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	end = func() {
		cancel()
		for _, p := range peers {
			_ = p.server.Wait() // was sent TERM
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, end, err
	}
	for _, one := range all {
		p, err := one(ctx, dir)
		if p.server != nil {
			peers = append(peers, p)
		}
		if err != nil {
			return peers, end, err
		}
	}
	return peers, end, nil
}

// build builds the program in a folder of this repository, in the folder above that of the
// servers, unless it is there.
func build(ctx context.Context, dir, source string) (binary string, err error) {
	name := path.Base(source)
	binary = filepath.Join(filepath.Dir(dir), "program-"+name) // "program-." is Gale
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", source, "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

// galeForm starts Gale with one serve child, for uploads by form.
func galeForm(ctx context.Context, dir string) (*peer, error) {
	p, port, err := beginGale(ctx, dir, "gale, a form")
	p.send = sendForm
	p.upload = func(ctx context.Context, size int64) error { return form(ctx, port, size) }
	return p, err
}

// galePut starts another Gale for uploads by PUT.
func galePut(ctx context.Context, dir string) (*peer, error) {
	p, _, err := beginGale(ctx, dir, "gale, PUT")
	p.send = sendPut("/upload/" + directory + "/")
	return p, err
}

// galeTus starts another Gale for uploads by tus: a POST and one PATCH.
func galeTus(ctx context.Context, dir string) (*peer, error) {
	p, port, err := beginGale(ctx, dir, "gale, tus")
	p.send = sendSmallTus
	p.upload = func(ctx context.Context, size int64) error { return resumable(ctx, port, size) }
	return p, err
}

func beginGale(ctx context.Context, dir, name string) (p *peer, port string, err error) {
	p = &peer{name: name}
	binary, err := build(ctx, dir, ".")
	if err != nil {
		return p, "", err
	}
	port, err = process.FreePort(ctx)
	if err != nil {
		return p, "", err
	}
	admin, err := process.FreePort(ctx)
	if err != nil {
		return p, "", err
	}
	data := filepath.Join(dir, name)
	p.addr, p.admin = "127.0.0.1:"+port, "127.0.0.1:"+admin
	p.folder = filepath.Join(data, "uploads", directory)
	p.path = filepath.Join(p.folder, fileName)
	p.server, err = process.Begin(ctx, port, binary, "serve", "-port", port, "-procs", "1", "-workers", "0",
		"-data", data, "-admin", p.admin, "-on-upload", "", "-log-level", "warn")
	return p, port, err
}

// nginx starts nginx with the dav module.
func nginx(ctx context.Context, dir string) (*peer, error) {
	return beginNginx(ctx, dir, "nginx, no sync")
}

// nginxSynced starts another nginx, whose client computes the SHA-256 of each file and syncs
// it.
func nginxSynced(ctx context.Context, dir string) (*peer, error) {
	p, err := beginNginx(ctx, dir, "nginx, SHA-256, sync")
	p.after = sumAndSyncHere
	p.upload = func(ctx context.Context, size int64) error {
		err := send(ctx, http.MethodPut, p.addr, "/"+fileName, "application/octet-stream", io.LimitReader(&pattern{}, size), size)
		if err != nil {
			return err
		}
		return sumAndSync(ctx, p.path)
	}
	return p, err
}

func beginNginx(ctx context.Context, dir, name string) (*peer, error) {
	root := filepath.Join(dir, name)
	p := &peer{name: name, folder: filepath.Join(root, "files"), send: sendPut("/")}
	p.path = filepath.Join(p.folder, fileName)
	port, err := process.FreePort(ctx)
	if err != nil {
		return p, err
	}
	p.addr = "127.0.0.1:" + port
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return p, err
	}
	config := fmt.Sprintf(`daemon off; user root; worker_processes 1; error_log stderr; pid "%[1]s/pid";
events { worker_connections 4096; }
http {
	access_log off;
	client_max_body_size 0;
	client_body_temp_path "%[1]s/body";
	proxy_temp_path "%[1]s/a"; fastcgi_temp_path "%[1]s/b"; uwsgi_temp_path "%[1]s/c"; scgi_temp_path "%[1]s/d";
	server {
		listen 127.0.0.1:%[2]s; root "%[1]s/files"; dav_methods PUT;
		location = / { return 200 "Hello, world!"; }
	}
}
`, root, port)
	if os.Getuid() != 0 {
		config = strings.Replace(config, "user root; ", "", 1)
	}
	file := filepath.Join(root, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return p, err
	}
	p.server, err = process.Begin(ctx, port, "nginx", "-p", root, "-e", "stderr", "-c", file)
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
	p := &peer{name: "tusd, no sync", folder: filepath.Join(dir, "tusd-files"), send: sendSmallTus}
	port, err := beginPeer(ctx, dir, "tusd", p)
	p.upload = func(ctx context.Context, size int64) error {
		location, _, err := sendTus(ctx, port, size)
		if err != nil {
			return err
		}
		p.path = filepath.Join(p.folder, path.Base(location))
		return sumAndSync(ctx, p.path)
	}
	return p, err
}

// caddy builds and starts Caddy, for uploads by PUT.
func caddy(ctx context.Context, dir string) (*peer, error) {
	p := &peer{name: "Caddy, no sync", folder: filepath.Join(dir, "caddy-files"), send: sendPut("/")}
	_, err := beginPeer(ctx, dir, "caddy", p)
	return p, err
}

// beginPeer builds and starts a program of bench/peers.
func beginPeer(ctx context.Context, dir, program string, p *peer) (port string, err error) {
	binary, err := build(ctx, dir, "bench/peers/"+program)
	if err != nil {
		return "", err
	}
	if port, err = process.FreePort(ctx); err != nil {
		return "", err
	}
	p.addr = "127.0.0.1:" + port
	p.server, err = process.Begin(ctx, port, binary, port, p.folder)
	return port, err
}

// tornado starts the upload handler on Tornado.
func tornado(ctx context.Context, dir string) (*peer, error) {
	root := filepath.Join(dir, "tornado")
	p := &peer{name: "Tornado, no sync", folder: filepath.Join(root, directory), send: sendForm}
	p.path = filepath.Join(p.folder, fileName)
	port, err := process.FreePort(ctx)
	if err != nil {
		return p, err
	}
	p.addr = "127.0.0.1:" + port
	// Debian's tornado needs Debian's Python.
	p.server, err = process.Begin(ctx, port, "/usr/bin/python3", "bench/uploads/tornado_upload.py", port, root)
	p.upload = func(ctx context.Context, size int64) error { return form(ctx, port, size) }
	return p, err
}

// form sends the file as multipart/form-data.
func form(ctx context.Context, port string, size int64) error {
	head := "--b\r\nContent-Disposition: form-data; name=\"" + directory + "\"; filename=\"" + fileName + "\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n"
	const tail = "\r\n--b--\r\n"
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(&pattern{}, size), strings.NewReader(tail))
	return send(ctx, http.MethodPost, "127.0.0.1:"+port, "/upload", "multipart/form-data; boundary=b", body, int64(len(head)+len(tail))+size)
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
	req.Header.Set("Upload-Metadata", "filename "+encode([]byte(fileName))+",directory "+encode([]byte(directory)))
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

func send(ctx context.Context, method, addr, path, contentType string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
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
