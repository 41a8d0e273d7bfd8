package tus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/galeserver/gale/uploads"
)

// finish publishes an upload that is whole, or does again what of that a process
// did not live to do: everything in it may be done twice. u has written the end,
// or is nil. A partial upload is whole and no more.
//
// The order is what makes it safe: the file has its name, and the store has noted
// what is to follow it (uploads.Options.Stored), then the state says so, and only then
// does the data lose its own name.
//
// A name that is taken by now, or has become unacceptable, ends the upload: as an
// upload that is whole and not there, it would look to its client like one that
// succeeded.
func (e *entry) finish(ctx context.Context, u *uploads.Upload) error {
	if u != nil {
		defer u.Discard() // what publishing has not ended
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
	}
	ctx = context.WithoutCancel(ctx) // from here on nobody can stop it
	file, err := u.Publish(ctx, e.Directory, e.Filename)
	if errors.Is(err, uploads.ErrExists) || errors.Is(err, uploads.ErrName) {
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

// fields are what an answer says of an upload.
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

// answer is what a form would be answered.
func (e *entry) response() uploads.Response {
	if e.Phase == phaseStored {
		return uploads.NewResponse(e.file())
	}
	f := uploads.File{Directory: e.Directory, Filename: e.Filename, Size: e.Offset, Code: uploads.CodePartial, Reason: "unfinished"}
	return uploads.NewResponse(f)
}
