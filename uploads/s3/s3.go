// Package s3 keeps the files of an uploads.Store in object storage that speaks the
// protocol of Amazon S3.
//
// The lifecycle of a file:
//
//	Create ──► temporary file without a name, in Options.Temp
//	             │
//	             ├─ up to Options.PartSize bytes:  Publish ──► PutObject
//	             │
//	             └─ more: each full part is sent ──► UploadPart
//	                      Publish ──► the last part, CompleteMultipartUpload
//
// PutObject and CompleteMultipartUpload have the condition If-None-Match: *, so an object
// is never overwritten (unless Options.Replace is set), and an object appears only when it is
// complete. Each object has the
// id of its upload in its metadata. So a request that was repeated because its response was
// lost finds out whether it has succeeded.
//
// Memory does not depend on the number or the size of uploads: parts wait in temporary
// files, and at most Options.Parts of them are sent at once.
package s3

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/internal/clockset"
	"github.com/galeserver/gale/uploads"
)

// Defaults of Options, and the smallest part that S3 accepts (except for the last one).
const (
	DefaultPartSize = 8 << 20
	DefaultParts    = 4
	DefaultTimeout  = 10 * time.Second
	DefaultExpiry   = 24 * time.Hour
	DefaultRetry    = 30 * time.Second

	minPartSize = 5 << 20
)

// maxSingle is the size limit of an object that one request stores, in bytes.
const maxSingle = 5 << 30

// attempts is the number of attempts for a request. The library waits up to a second
// between two of them.
const attempts = 3

// Options configure a Bucket. Each zero field means the documented default.
type Options struct {
	// Temp is the folder for parts that are being received. The files in it have no
	// name, so the kernel frees them when the process ends in any way. It should not be in
	// memory (tmpfs). Default: the system's folder for temporary files.
	Temp string
	// PartSize is the size of the parts of a file, in bytes. It is doubled after each
	// 1,000 parts, so that 10,000 parts are enough for the largest object. Default 8 MiB,
	// at least 5 MiB.
	PartSize int64
	// Parts is the number of parts that are sent at once, by all uploads together.
	// Default 4.
	Parts int
	// Timeout is the time after which a request that makes no progress fails. Completing
	// a file may take a second longer for each 32 MiB. Default 10 s.
	Timeout time.Duration
	// Expiry is the age at which Run removes the parts of an upload that was not
	// completed. So it is also the longest time that an upload may take. Default 24 h.
	Expiry time.Duration
	// Retry is the time between two looks for records of files whose
	// uploads.Options.Stored has not succeeded. Default 30 s.
	Retry time.Duration
	// Replace makes Publish replace an existing file, and List return names that
	// uploads.CheckName refuses. It is for files other than uploads, whose names the caller
	// checks. The service need not honour If-None-Match then.
	Replace bool
	// Transport sends the requests. Nil: a transport with the proxy settings of the
	// environment.
	Transport http.RoundTripper
	// Meter counts requests. Nil: they are not counted.
	Meter Meter
	// Logger gets a line for what needs attention. Nil: nothing is logged.
	Logger *slog.Logger
}

// Meter counts requests to object storage. Its method is called from several goroutines
// at once and must not block.
type Meter interface {
	// StorageRequest is called after each request. status is the HTTP status, or 0
	// without a response. took is the time until the header of the response.
	StorageRequest(method string, status int, took time.Duration)
}

// Bucket keeps files in a bucket. Open makes one. Its methods may be called from several
// goroutines at once, and several processes on several machines may use the same bucket
// and prefix.
type Bucket struct {
	opts   Options
	log    *slog.Logger
	client *minio.Core
	name   string
	prefix string // begin of all keys: empty, or ends with a slash

	sending    chan struct{} // semaphore: one element for each part that is being sent
	writing    chan struct{} // semaphore: one element for each write to a temporary file
	background sync.WaitGroup
	support    support
	lookout    lookout
	clock      clockset.Guard
}

// diskWrites is the number of concurrent writes to temporary files. Without a limit, a slow
// disk would block one thread for each upload.
const diskWrites = 16

// Open returns a bucket. It sends no request; Probe does that. The credentials are those
// of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), else
// of the shared credentials file (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE), else of the
// machine or container (IAM roles of EC2, ECS and EKS).
func Open(t Target, o Options) (*Bucket, error) {
	o.Temp = cmp.Or(o.Temp, os.TempDir())
	o.PartSize = max(cmp.Or(o.PartSize, DefaultPartSize), minPartSize)
	o.Parts = cmp.Or(max(o.Parts, 0), DefaultParts)
	o.Timeout = cmp.Or(max(o.Timeout, 0), DefaultTimeout)
	o.Expiry = cmp.Or(max(o.Expiry, 0), DefaultExpiry)
	o.Retry = cmp.Or(max(o.Retry, 0), DefaultRetry)
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	b := &Bucket{
		opts: o, log: o.Logger, name: t.Bucket, prefix: t.Prefix,
		sending: make(chan struct{}, o.Parts), writing: make(chan struct{}, diskWrites),
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.prefix != "" {
		b.prefix += "/"
	}
	client, err := minio.NewCore(t.Endpoint, &minio.Options{
		Creds: t.credentials(o.Timeout), Secure: t.Secure, Region: t.Region, MaxRetries: attempts,
		Transport: &transport{next: o.Transport, meter: o.Meter},
	})
	if err != nil {
		return nil, fmt.Errorf("open object storage: %w", err)
	}
	b.client = client
	return b, nil
}

// Backend returns the backend for uploads.New. Closing the store closes the bucket.
func (b *Bucket) Backend() uploads.Backend {
	return uploads.Backend{Files: b, Journal: b, Quarantine: b, Close: b.Close}
}

// Close waits until the parts of discarded uploads have been removed. Uploads must have
// ended before.
func (b *Bucket) Close() error {
	b.background.Wait()
	return nil
}

// maxKey is the length limit of a key, in bytes.
const maxKey = 1024

// key returns the key of a file. CheckName has accepted the name, so it leads neither out
// of the prefix nor to the records of a journal.
func (b *Bucket) key(directory, filename string) (string, error) {
	key := b.prefix + directory + "/" + filename
	if len(key) > maxKey {
		return "", uploads.WithReason(uploads.ErrName, fmt.Sprintf("directory and filename are longer than %d bytes", maxKey-len(b.prefix)-1))
	}
	return key, nil
}

// Fields of an object's metadata.
const (
	metaID  = "Gale-Id"
	metaSum = "Gale-Sha256"
)

// stat returns the description of an object. Without the object the error wraps
// fs.ErrNotExist.
func (b *Bucket) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	info, err := b.client.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
	return info, failure(ctx, "stat object", err)
}

// infoOf returns the Info of an object.
func infoOf(o minio.ObjectInfo) uploads.Info {
	return uploads.Info{
		Size: o.Size, Modified: o.LastModified, SHA256: strings.ToLower(o.UserMetadata[metaSum]), Version: strings.Trim(o.ETag, `"`),
	}
}
