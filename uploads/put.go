package uploads

import (
	"context"
	"io"
)

// Put stores the content of r, up to io.EOF, under the name of a permit and with an id that is unique to
// the file, for example one that was received elsewhere before. Options.Stored gets the id.
// In object storage a call for a file that is stored with the same id succeeds, so a caller
// that does not know whether an earlier call has succeeded may repeat it. The errors are
// those of Create, ReadFrom and Publish. The File is the result for the client, also after
// an error.
func (s *Store) Put(ctx context.Context, id string, p Permit, r io.Reader) (File, error) {
	directory, filename := p.Directory, p.Filename
	if err := (Pending{ID: id, Directory: directory, Filename: filename}).Check(); err != nil {
		return NewFile(directory, filename, err), err
	}
	var u *Upload
	err := s.DoWait(ctx, func() (err error) {
		u, err = s.createUpload(ctx, id, directory, filename)
		return err
	})
	if err != nil {
		return NewFile(directory, filename, err), err
	}
	defer u.Discard()
	u.Apply(p)
	if _, err := u.ReadFrom(ctx, r); err != nil {
		return NewFile(directory, filename, err), err
	}
	return u.Publish(ctx, directory, filename)
}
