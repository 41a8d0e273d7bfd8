// Package static serves the files of a folder, with conditional requests, ranges and
// compression.
package static

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/internal/contentcoding"
	"github.com/galeserver/gale/server"
)

const (
	// cacheImmutable is for URLs with a query, such as the ?v=HASH of Tornado's
	// static_url: a page must change the query when the content changes.
	cacheImmutable = "public, max-age=31536000, immutable"
	// cacheRevalidate is for all other URLs: a cache revalidates the file by ETag before
	// each use.
	cacheRevalidate = "no-cache"

	// minCompress and maxCompress are file sizes in bytes. A file between them is
	// compressed for each request, unless a compressed file exists in the same folder.
	// Compression saves nothing for smaller files, and needs too much CPU time for larger
	// ones.
	minCompress = 1 << 10
	maxCompress = 1 << 20
)

// suffixes are the endings of the names of compressed files.
var suffixes = map[string]string{contentcoding.Brotli: ".br", contentcoding.Zstd: ".zst", contentcoding.Gzip: ".gz"}

// Options configure a Folder. The zero value is valid.
type Options struct {
	// Base is the path below which the files are served, with a slash at its end.
	// Default "/static/".
	Base string
	// Logger gets a record for each file that URL does not find. Default: no log.
	Logger *slog.Logger
}

// Folder is a folder of files. Files outside of it cannot be requested, not even through
// a symbolic link.
type Folder struct {
	root   *os.Root
	base   string
	log    *slog.Logger
	hashes hashes
}

// Open opens the folder dir.
func Open(dir string, o Options) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open static files: %w", err)
	}
	return &Folder{root: root, base: cmp.Or(o.Base, "/static/"), log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), hashes: hashes{of: map[string]hash{}}}, nil
}

// Close closes the folder. Serve and URL must not be called after it.
func (f *Folder) Close() error { return f.root.Close() }

// file is a file to send, with its content coding.
type file struct {
	*os.File
	info   fs.FileInfo
	coding string // content coding: br, zstd or gzip; empty if there is none
}

func (f *file) etag() string {
	tag := strconv.FormatInt(f.info.ModTime().UnixNano(), 16) + "-" + strconv.FormatInt(f.info.Size(), 16)
	if f.coding != "" {
		tag += "-" + f.coding
	}
	return `"` + tag + `"`
}

// Serve responds to a GET or HEAD request with the file called name, a slash-separated
// path below the folder. It implements single ranges, conditions and content codings
// as in RFC 9110 §8 to §14. If FILE.br, FILE.zst or FILE.gz exists and is not older
// than FILE, clients that accept the coding get that file. The error is a *server.Error
// with status 404 if there is no regular file of that name, if it cannot be read, or if it
// is hidden (a segment of name begins with a dot). Other errors are internal.
func (f *Folder) Serve(ctx *fasthttp.RequestCtx, name string) error {
	original, err := f.open(name)
	if err != nil {
		return err
	}
	modified := original.info.ModTime()
	kind := contentType(name)
	chosen := original
	if len(ctx.Request.Header.Peek(fasthttp.HeaderRange)) == 0 {
		chosen = f.selectVariant(ctx, name, kind, original)
	}
	h := &ctx.Response.Header
	h.SetContentType(kind)
	h.Set(fasthttp.HeaderETag, chosen.etag())
	h.Set(fasthttp.HeaderLastModified, modified.UTC().Format(http.TimeFormat))
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	h.Set(fasthttp.HeaderAcceptRanges, "bytes")
	h.Set(fasthttp.HeaderCacheControl, cacheRevalidate)
	if len(ctx.URI().QueryString()) > 0 {
		h.Set(fasthttp.HeaderCacheControl, cacheImmutable)
	}
	if notModified(&ctx.Request.Header, chosen.etag(), modified) {
		ctx.SetStatusCode(http.StatusNotModified)
		return chosen.Close()
	}
	if chosen.coding != "" {
		h.Set(fasthttp.HeaderContentEncoding, chosen.coding)
	}
	if chosen == original && chosen.coding == contentcoding.Gzip {
		return compress(ctx, chosen)
	}
	return send(ctx, chosen)
}

// open opens a regular file.
func (f *Folder) open(name string) (*file, error) {
	missing := server.Fail(http.StatusNotFound, "not found")
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment[0] == '.' {
			return nil, missing
		}
	}
	// Without O_NONBLOCK, opening a named pipe would block.
	opened, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		for _, internal := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO} {
			if errors.Is(err, internal) {
				return nil, fmt.Errorf("open static file: %w", err)
			}
		}
		return nil, missing // the same for a missing file, no permission, and a path out of the folder
	}
	info, err := opened.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(missing, opened.Close())
	}
	return &file{File: opened, info: info}, nil
}

// selectVariant returns the file to send: a compressed file from the same folder, or
// original. If original must be compressed for this request, its coding is set. If
// selectVariant returns another file, it closes original.
func (f *Folder) selectVariant(ctx *fasthttp.RequestCtx, name, kind string, original *file) *file {
	accepted := contentcoding.Accepted(server.List(&ctx.Request.Header, fasthttp.HeaderAcceptEncoding), contentcoding.Brotli, contentcoding.Zstd, contentcoding.Gzip)
	for _, coding := range accepted {
		variant, err := f.open(name + suffixes[coding])
		if err != nil {
			continue
		}
		if variant.info.ModTime().Before(original.info.ModTime()) {
			_ = variant.Close() // read only
			continue
		}
		_ = original.Close() // read only
		variant.coding = coding
		return variant
	}
	if size := original.info.Size(); size >= minCompress && size <= maxCompress && contentcoding.Compressible(kind) && slices.Contains(accepted, contentcoding.Gzip) {
		original.coding = contentcoding.Gzip
	}
	return original
}

// compress compresses a file with gzip and sends it.
func compress(ctx *fasthttp.RequestCtx, f *file) error {
	defer f.Close() //nolint:errcheck // read only
	content, err := io.ReadAll(io.LimitReader(f, maxCompress+1))
	if err != nil {
		return fmt.Errorf("read static file: %w", err)
	}
	ctx.Response.SetBodyRaw(fasthttp.AppendGzipBytesLevel(nil, content, fasthttp.CompressDefaultCompression))
	return nil
}

// send sends a file, or the requested part of it.
func send(ctx *fasthttp.RequestCtx, f *file) error {
	size := f.info.Size()
	h := &ctx.Response.Header
	part, ranged := requestedRange(&ctx.Request.Header, f)
	switch {
	case !ranged:
		part = byterange.Range{Length: size}
	case part.Length == 0:
		h.Set(fasthttp.HeaderContentRange, byterange.Unsatisfied(size))
		ctx.SetStatusCode(http.StatusRequestedRangeNotSatisfiable)
		return f.Close()
	default:
		h.Set(fasthttp.HeaderContentRange, part.ContentRange(size))
		ctx.SetStatusCode(http.StatusPartialContent)
	}
	if _, err := f.Seek(part.Start, io.SeekStart); err != nil {
		return errors.Join(fmt.Errorf("read static file: %w", err), f.Close())
	}
	ctx.SetBodyStream(stream{io.LimitReader(f, part.Length), f}, int(part.Length)) // closes f
	return nil
}

// stream is a part of a file with a fixed end, even if the file grows while it is sent.
// fasthttp closes the connection if a body is longer than its Content-Length.
type stream struct {
	io.Reader
	io.Closer
}

// contentType returns the media type for the extension of a file name. The type is not
// detected from the content, because the result would be hard to predict.
func contentType(name string) string {
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// notModified reports whether the client already has the current content of the file (RFC
// 9110 §13.1.2, §13.1.3). modified is the time in Last-Modified. It is that of the
// original also if a compressed file is sent.
func notModified(h *fasthttp.RequestHeader, etag string, modified time.Time) bool {
	if tags := server.List(h, fasthttp.HeaderIfNoneMatch); tags != "" {
		for tag := range strings.SplitSeq(tags, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag {
				return true
			}
		}
		return tags == "*"
	}
	text, _ := server.Single(h, fasthttp.HeaderIfModifiedSince)
	since, err := http.ParseTime(text)
	return err == nil && !modified.Truncate(time.Second).After(since)
}
