package s3

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxSweepInterval is the longest time between two sweeps.
const maxSweepInterval = time.Hour

// Run removes the parts of uploads that were begun longer than Options.Expiry ago and not
// completed, because their process was killed or the service did not respond. Those of
// resumable uploads end with these. It does so at the start and about once an hour, until ctx ends. Run returns nil.
func (b *Bucket) Run(ctx context.Context) error {
	interval := min(maxSweepInterval, b.opts.Expiry/4)
	for {
		if n, err := b.sweep(ctx); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "parts of old uploads not removed, will retry", "error", err)
		} else if n > 0 {
			b.log.InfoContext(ctx, "parts of old uploads removed", "uploads", n)
		}
		again := time.NewTimer(interval/2 + rand.N(interval)) //nolint:gosec // so that processes do not sweep at the same time
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-again.C:
		}
	}
}

// sweep aborts the old multipart uploads of the prefix, and returns their number.
func (b *Bucket) sweep(ctx context.Context) (n int, err error) {
	if paused, _ := b.clock.Paused(time.Now()); paused {
		return 0, nil
	}
	var resumable map[string]bool // nil before it is needed
	keyMarker, idMarker := "", ""
	for {
		op, end := b.operation(ctx, 0)
		page, err := b.client.ListMultipartUploads(op, b.name, b.prefix, keyMarker, idMarker, "", 1000)
		err = failure(op, "list multipart uploads", err)
		end()
		if err != nil {
			return n, err
		}
		for _, u := range page.Uploads {
			if ctx.Err() != nil || time.Since(u.Initiated) <= b.opts.Expiry {
				continue
			}
			if resumable == nil {
				if resumable, err = (&Resumable{bucket: b}).multiparts(ctx); err != nil {
					return n, err
				}
			}
			if !resumable[u.UploadID] {
				b.abort(ctx, u.Key, u.UploadID)
				n++
			}
		}
		if !page.IsTruncated {
			return n, (&Resumable{bucket: b}).removeOrphans(ctx)
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
