package tus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strconv"

	"github.com/galeserver/gale/uploads"
)

// finish publishes a complete upload. If a process is killed in finish, another one calls
// finish again; each step may be repeated. u is the Upload that has written the last bytes,
// or nil. A partial upload is not published, only paused.
//
// The order of the steps ensures that nothing is lost: first the store publishes the file
// and writes the pending record for uploads.Options.Stored, then the state is saved, and
// then the name of the data file is removed.
//
// If the name is in use by now, or is not acceptable any more, or the file exceeds a quota,
// finish discards the upload.
// Otherwise HEAD would return an offset equal to the length, and the client would believe
// that the upload had succeeded.
func (e *entry) finish(ctx context.Context, u *uploads.Upload) error {
	if u != nil {
		defer u.Discard() // does nothing after Publish or Pause
	}
	if e.partial() || e.Phase == phaseStored {
		if u != nil {
			u.Pause()
		}
		return nil
	}
	if u == nil {
		err := e.openData()
		if err == nil {
			u, err = e.server.store.Resume(ctx, e.data, folderName+"/"+unfinishedName+"/"+e.ID, e.checkpoint())
		}
		if err != nil {
			return err
		}
		defer u.Discard()
		u.Apply(e.permit())
	}
	ctx = context.WithoutCancel(ctx) // neither a disconnect nor a shutdown may interrupt it
	file, err := e.publish(ctx, u)
	if errors.Is(err, uploads.ErrExists) || errors.Is(err, uploads.ErrName) || errors.Is(err, uploads.ErrQuota) {
		return errors.Join(err, e.discard(ctx, file.Reason))
	}
	if err != nil {
		return err
	}
	file.ID = e.ID
	if e.server.opts.Stored != nil {
		e.server.opts.Stored(e.ID, file)
	}
	e.Phase, e.Hash, e.Sum, e.storedErr = phaseStored, nil, file.SHA256, file.StoredErr
	if err := e.archive(ctx); err != nil {
		return err
	}
	e.discardParts(ctx)
	return nil
}

// publish publishes a complete upload. In a store other than the server's own, it may be
// repeated because the file has the upload's id.
func (e *entry) publish(ctx context.Context, u *uploads.Upload) (uploads.File, error) {
	files := e.server.opts.Files
	if files == e.server.store {
		return u.Publish(ctx, e.Directory, e.Filename)
	}
	u.Pause()
	if err := e.openData(); err != nil {
		return uploads.File{}, err
	}
	return files.Put(ctx, e.ID, e.permit(), io.NewSectionReader(e.data, 0, e.Length))
}

// headerFields returns the header fields of a response that describe the upload.
func (e *entry) headerFields() [][2]string {
	fields := [][2]string{{"Upload-Offset", strconv.FormatInt(e.Offset, 10)}}
	if e.Length < 0 {
		fields = append(fields, [2]string{"Upload-Defer-Length", "1"})
	} else {
		fields = append(fields, [2]string{"Upload-Length", strconv.FormatInt(e.Length, 10)})
	}
	if e.Phase != phaseStored {
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
	if e.Phase == phaseStored {
		return uploads.NewResponse(e.file())
	}
	f := uploads.File{Directory: e.Directory, Filename: e.Filename, Size: e.Offset, Code: uploads.CodePartial, Reason: "unfinished"}
	return uploads.NewResponse(f)
}
