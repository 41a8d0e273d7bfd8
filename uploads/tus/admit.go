package tus

import (
	"context"

	"github.com/galeserver/gale/uploads"
)

// admit decides about the file of an upload, before its content is received, and sets its name
// and limits. size is -1 if it is not known. It also checks that the name is not in use. A
// partial upload has no name, so the decision is made about the final upload.
func (s *Server) admit(ctx context.Context, sender uploads.Sender, attr *Attributes, size int64) error {
	metadata, err := parseMetadata(attr.Metadata)
	if err != nil {
		return err
	}
	p, err := s.store.Admit(ctx, uploads.Proposal{
		Directory: attr.Directory, Filename: attr.Filename, Size: size, Sender: sender, Metadata: metadata,
	})
	if err != nil {
		return err
	}
	attr.Directory, attr.Filename, attr.MaxSize, attr.Subject = p.Directory, p.Filename, p.MaxSize, p.Subject
	return s.store.Check(ctx, attr.Directory, attr.Filename)
}

// permit returns the permit for the file of an upload.
func (attr Attributes) permit() uploads.Permit {
	return uploads.Permit{Directory: attr.Directory, Filename: attr.Filename, MaxSize: attr.MaxSize, Subject: attr.Subject}
}

// maxFile returns the size limit of the file in bytes.
func (e *entry) maxFile() int64 {
	if e.MaxSize > 0 {
		return min(e.MaxSize, e.server.store.MaxFile())
	}
	return e.server.store.MaxFile()
}
