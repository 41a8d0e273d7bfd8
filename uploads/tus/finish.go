package tus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/galeserver/gale/uploads"
)

// finish publishes a complete upload. If a process is killed in finish, another one calls
// finish again; each step may be repeated. u is the Upload that has written the last bytes,
// or nil. A partial upload is not published, only paused.
//
// The order of the steps ensures that nothing is lost: first the store publishes the file
// and writes the pending record for uploads.Options.Stored, then the state is saved, and
// then the data is removed.
//
// If the name is in use by now, or is not acceptable any more, or the bytes are lost, finish discards the upload.
// Otherwise HEAD would return an offset equal to the length, and the client would believe
// that the upload had succeeded.
func (e *entry) finish(ctx context.Context, u *uploads.Upload) error {
	if u != nil {
		defer u.Discard() // does nothing after Publish or Pause
	}
	if e.Partial() || e.Phase == PhaseStored {
		if u != nil {
			u.Pause()
		}
		return nil
	}
	if u == nil {
		var err error
		if u, _, err = e.held.Resume(ctx); err != nil {
			return err
		}
		defer u.Discard()
	}
	ctx = context.WithoutCancel(ctx) // neither a disconnect nor a shutdown may interrupt it
	file, err := u.Publish(ctx, e.Directory, e.Filename)
	if errors.Is(err, uploads.ErrExists) || errors.Is(err, uploads.ErrName) || errors.Is(err, ErrUnreadable) {
		return errors.Join(err, e.discard(ctx, file.Reason))
	}
	if err != nil {
		return err
	}
	file.ID = e.ID
	if e.server.opts.Stored != nil {
		e.server.opts.Stored(e.ID, file)
	}
	p := e.Progress
	p.Phase, p.Hash, p.Sum, e.storedErr = PhaseStored, nil, file.SHA256, file.StoredErr
	if err := e.save(ctx, p); err != nil {
		return err
	}
	e.discardParts(ctx)
	return nil
}

// headerFields returns the header fields of a response that describe the upload.
func (e *entry) headerFields() [][2]string {
	fields := [][2]string{{"Upload-Offset", strconv.FormatInt(e.Offset, 10)}}
	if e.Length < 0 {
		fields = append(fields, [2]string{"Upload-Defer-Length", "1"})
	} else {
		fields = append(fields, [2]string{"Upload-Length", strconv.FormatInt(e.Length, 10)})
	}
	if e.Phase != PhaseStored {
		return append(fields, [2]string{"Upload-Expires", httpDate(e.Expires)})
	}
	if raw, err := hex.DecodeString(e.Sum); err == nil {
		fields = append(fields, [2]string{"Repr-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(raw) + ":"}) // RFC 9530
	}
	return fields
}

// response returns the uploads.Response for the upload, in the same form as for a multipart
// form.
func (e *entry) response() uploads.Response {
	if e.Phase == PhaseStored {
		return uploads.NewResponse(e.file())
	}
	f := uploads.File{Directory: e.Directory, Filename: e.Filename, Size: e.Offset, Code: uploads.CodePartial, Reason: "unfinished"}
	return uploads.NewResponse(f)
}
