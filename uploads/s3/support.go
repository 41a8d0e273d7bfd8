package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/singleflight"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/uploads"
)

// probes is the part of the prefix for the objects that Probe creates and removes.
const probes = ".probe/"

// support is what is known of the service.
type support struct {
	probe singleflight.Group // so that callers that come at the same time wait for one probe
	mu    sync.Mutex
	known bool
	// multipart is true if the service honours If-None-Match for
	// CompleteMultipartUpload. Otherwise each file is stored by one PutObject.
	multipart bool
	// match is true if the service honours If-Match of PutObject.
	match bool
}

// errNotConditional is the error for a service with which files could be overwritten.
var errNotConditional = errors.New("the service ignores If-None-Match: * of PutObject, so files could be overwritten; use one that supports conditional writes")

// Probe tests whether objects can be created and removed, and whether the service
// honours If-None-Match, without which files could be overwritten. A service that is full
// or cannot be reached is no error: the test is then made before the first upload. With
// Options.Replace, there is no test.
func (b *Bucket) Probe(ctx context.Context) error {
	_, err := b.streams(ctx)
	if errors.Is(err, uploads.ErrUnavailable) || errors.Is(err, syscall.ENOSPC) {
		b.log.WarnContext(ctx, "object storage not checked, uploads fail until it can be used", "bucket", b.name, "error", err)
		return nil
	}
	return err
}

// streams reports whether large files can be sent in parts. The first successful call
// finds it out.
func (b *Bucket) streams(ctx context.Context) (bool, error) {
	if b.opts.Replace {
		return true, nil
	}
	b.support.mu.Lock()
	known, multipart := b.support.known, b.support.multipart
	b.support.mu.Unlock()
	if known {
		return multipart, nil
	}
	found, err, _ := b.support.probe.Do("", func() (any, error) { return b.probe(context.WithoutCancel(ctx)) })
	multipart, _ = found.(bool)
	return multipart, err
}

// matches reports whether the service honours If-Match of PutObject. The first call of
// streams finds it out.
func (b *Bucket) matches() bool {
	b.support.mu.Lock()
	defer b.support.mu.Unlock()
	return b.support.match
}

// probe makes the test of Probe.
func (b *Bucket) probe(ctx context.Context) (multipart bool, err error) {
	key, match := b.prefix+probes+rand.Text(), false
	if err = b.probeSingle(ctx, key); err == nil {
		match, err = b.probeMatch(ctx, key)
	}
	if err == nil {
		multipart, err = b.probeMultipart(ctx, key)
	}
	// In the background, because the service may not respond. Close waits for it.
	b.background.Go(func() {
		if err := b.removeObject(ctx, key); err != nil {
			b.log.WarnContext(ctx, "object of a test not removed", "key", key, "error", err)
		}
	})
	if err != nil {
		return false, fmt.Errorf("check object storage: bucket %s: %w", b.name, err)
	}
	if !multipart {
		b.log.WarnContext(ctx, "object storage ignores If-None-Match when it completes a multipart upload: files are sent in one request after they have been received, and need disk space until then",
			"bucket", b.name, "folder", b.opts.Temp, "limit_bytes", int64(maxSingle))
	}
	if !match {
		b.log.WarnContext(ctx, "object storage ignores If-Match of PutObject: the state of a resumable upload is protected only by a lock in Redis", "bucket", b.name)
	}
	b.support.mu.Lock()
	b.support.known, b.support.multipart, b.support.match = true, multipart, match
	b.support.mu.Unlock()
	return multipart, nil
}

// probeSingle creates an object, and checks that it cannot be overwritten.
func (b *Bucket) probeSingle(ctx context.Context, key string) error {
	ctx, end := b.operation(ctx, 0)
	defer end()
	put := func() error {
		_, err := b.client.PutObject(ctx, b.name, key, strings.NewReader("probe"), 5, "", sumHex("probe"), onlyNew(nil))
		return err
	}
	if err := retryConflict(ctx, put); err != nil {
		return failure(ctx, "create object", err)
	}
	err := put()
	if err == nil {
		return errNotConditional
	}
	if !hasStatus(err, http.StatusPreconditionFailed) {
		return failure(ctx, "create object", err)
	}
	return nil
}

// retryConflict calls put, which stores an object whose name nothing else uses, again after 409.
// A service that keeps objects in folders may respond so while another process removes the
// last object of the folder.
func retryConflict(ctx context.Context, put func() error) error {
	err := put()
	for range conflicts {
		if !hasStatus(err, http.StatusConflict) || !sleep.For(ctx, conflictWait) {
			break
		}
		err = put()
	}
	return err
}

// probeMatch reports whether an object is replaced only if it has the ETag of If-Match.
func (b *Bucket) probeMatch(ctx context.Context, key string) (honoured bool, err error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	o := verified()
	o.SetMatchETag("00000000000000000000000000000000")
	_, err = b.client.PutObject(ctx, b.name, key, strings.NewReader("probe"), 5, "", sumHex("probe"), o)
	switch {
	case err == nil, hasStatus(err, http.StatusNotImplemented):
		return false, nil
	case hasStatus(err, http.StatusPreconditionFailed):
		return true, nil
	}
	return false, failure(ctx, "replace object", err)
}

// probeMultipart reports whether a multipart upload cannot overwrite an object.
func (b *Bucket) probeMultipart(ctx context.Context, key string) (honoured bool, err error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	id, err := b.client.NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{})
	if err != nil {
		return false, failure(ctx, "begin multipart upload", err)
	}
	part, err := b.client.PutObjectPart(ctx, b.name, key, id, 1, strings.NewReader("probe"), 5, minio.PutObjectPartOptions{Sha256Hex: sumHex("probe"), DisableContentSha256: true})
	if err == nil {
		_, err = b.client.CompleteMultipartUpload(ctx, b.name, key, id, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, onlyNew(nil))
		if err == nil {
			return false, nil
		}
	}
	b.background.Go(func() { b.abort(context.WithoutCancel(ctx), key, id) }) // Close waits for it
	if hasStatus(err, http.StatusPreconditionFailed) {
		return true, nil
	}
	if hasStatus(err, http.StatusNotImplemented) {
		return false, nil
	}
	return false, failure(ctx, "send part", err)
}

// onlyNew returns options for an object that must not exist yet.
func onlyNew(metadata map[string]string) minio.PutObjectOptions {
	o := verified()
	o.UserMetadata = metadata
	o.SetMatchETagExcept("*")
	return o
}

// verified returns options with which the SHA-256 that is passed to PutObject is sent, and
// verified by the service. Without DisableContentSha256 the library computes it again, for
// each 64 KiB, if the connection is not encrypted.
func verified() minio.PutObjectOptions { return minio.PutObjectOptions{DisableContentSha256: true} }
