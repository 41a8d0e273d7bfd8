package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
)

// Open implements uploads.Files. It asks only for the description of the file. The first
// Read, and the first one after each Seek to another place, asks for the content.
func (b *Bucket) Open(ctx context.Context, directory, filename string) (uploads.Content, error) {
	return b.open(ctx, directory, filename, false)
}

// open opens a file. hidden is true if it may be one in quarantine.
func (b *Bucket) open(ctx context.Context, directory, filename string, hidden bool) (uploads.Content, error) {
	key, err := b.key(directory, filename)
	if err != nil {
		return nil, fmt.Errorf("open object: %w: %w", fs.ErrNotExist, err) // no file can have that name
	}
	object, err := b.stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if !hidden {
		away, err := b.isHidden(ctx, key, object)
		if err != nil {
			return nil, err
		}
		if away {
			return nil, fmt.Errorf("open object: in quarantine: %w", fs.ErrNotExist)
		}
	}
	c := &content{info: infoOf(object), size: object.Size}
	c.get = func(at int64) (io.ReadCloser, error) { return b.get(ctx, key, object.ETag, at) }
	c.url = func(ctx context.Context, valid time.Duration, fields url.Values) (string, error) {
		return b.presigned(ctx, key, valid, fields)
	}
	return c, nil
}

// get returns the content of an object from a position on. Reading returns an error if the
// object is not the one with that ETag any more.
func (b *Bucket) get(ctx context.Context, key, etag string, at int64) (io.ReadCloser, error) {
	ctx, end := b.operation(ctx, 0)
	var o minio.GetObjectOptions
	err := o.SetMatchETag(etag)
	if err == nil && at > 0 {
		err = o.SetRange(at, 0)
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("get object: %w", err)
	}
	body, _, _, err := b.client.GetObject(ctx, b.name, key, o)
	if err != nil {
		err = failure(ctx, "get object", err)
		end()
		return nil, err
	}
	return &objectBody{body: body, fail: func(err error) error { return failure(ctx, "read object", err) }, end: end}, nil
}

// presigned returns a URL for an object. fields are parameters that set header fields of the
// response.
func (b *Bucket) presigned(ctx context.Context, key string, valid time.Duration, fields url.Values) (string, error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	u, err := b.client.PresignedGetObject(ctx, b.name, key, valid, fields)
	if err != nil {
		return "", failure(ctx, "sign URL", err)
	}
	return u.String(), nil
}

// objectBody is the content of an object as it arrives.
type objectBody struct {
	body io.ReadCloser
	fail func(error) error
	end  func()
}

func (o *objectBody) Read(p []byte) (int, error) {
	n, err := o.body.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped io.EOF is not the end
		err = o.fail(err)
	}
	return n, err
}

func (o *objectBody) Close() error {
	o.end() // closing a body that is not read to its end would read more of it
	return o.body.Close()
}

// content is an open file. It implements uploads.Content and uploads.Redirector.
type content struct {
	info uploads.Info
	size int64
	get  func(at int64) (io.ReadCloser, error)
	url  func(ctx context.Context, valid time.Duration, fields url.Values) (string, error)
	at   int64
	body io.ReadCloser // content from at on; nil until it is needed
}

// Info implements uploads.Content.
func (c *content) Info() uploads.Info { return c.info }

// URL implements uploads.Redirector.
func (c *content) URL(ctx context.Context, valid time.Duration, contentType, disposition string) (string, error) {
	return c.url(ctx, valid, url.Values{"response-content-type": {contentType}, "response-content-disposition": {disposition}})
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if c.at >= c.size {
		return 0, io.EOF
	}
	if c.body == nil {
		body, err := c.get(c.at)
		if err != nil {
			return 0, err
		}
		c.body = body
	}
	n, err := c.body.Read(p)
	c.at += int64(n)
	if err == io.EOF && c.at < c.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("seek: negative position")
	}
	if offset != c.at {
		c.at = offset
		_ = c.Close() // the content from another position on is not needed
	}
	return offset, nil
}

// Close implements io.Closer.
func (c *content) Close() error {
	if c.body == nil {
		return nil
	}
	body := c.body
	c.body = nil
	_ = body.Close() // the error is that of the end of its operation
	return nil
}
