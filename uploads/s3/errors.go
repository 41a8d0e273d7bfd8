package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"syscall"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
)

// Error codes of S3 and of common services, by their meaning. Amazon's are in
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
var (
	codesFull  = []string{"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull", "NoSpaceLeft"}
	codesBusy  = []string{"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "RequestLimitExceeded", "ServerBusy"}
	codesTaken = []string{"ObjectParentIsFile", "XMinioParentIsObject", "ExistingObjectIsDirectory", "XMinioObjectExistsAsDirectory"}
)

// failure returns the error of an operation for err, the error of the library. ctx is the
// context of the operation. The errors are those of uploads.Files.
func failure(ctx context.Context, verb string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return fmt.Errorf("%s: %w: %w", verb, uploads.ErrUnavailable, cause)
	} else if cause != nil {
		return fmt.Errorf("%s: %w", verb, cause)
	}
	var response minio.ErrorResponse
	if !errors.As(err, &response) || response.StatusCode == 0 {
		if path, ok := errors.AsType[*fs.PathError](err); ok { // of a temporary file
			return fmt.Errorf("%s: %w", verb, path)
		}
		return fmt.Errorf("%s: %w: %w", verb, uploads.ErrUnavailable, err)
	}
	kind := kindOf(response)
	if kind == nil {
		return fmt.Errorf("%s: %s (%d): %w", verb, response.Code, response.StatusCode, err)
	}
	return fmt.Errorf("%s: %w: %s (%d): %w", verb, kind, response.Code, response.StatusCode, err)
}

// kindOf returns the error of package uploads for a response, or nil.
func kindOf(r minio.ErrorResponse) error {
	switch {
	case slices.Contains(codesFull, r.Code), r.StatusCode == http.StatusInsufficientStorage:
		return syscall.ENOSPC
	case slices.Contains(codesBusy, r.Code), r.StatusCode >= 500, r.StatusCode == http.StatusTooManyRequests:
		return uploads.ErrUnavailable
	case slices.Contains(codesTaken, r.Code):
		return uploads.ErrExists
	case r.Code == "KeyTooLongError":
		return uploads.ErrName
	case r.Code == "EntityTooLarge":
		return uploads.ErrTooLarge
	case r.Code == minio.NoSuchKey:
		return fs.ErrNotExist
	}
	return nil
}

// hasStatus reports whether err is a response with that status.
func hasStatus(err error, status int) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && r.StatusCode == status
}
