package tus

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // detects transmission errors only, defined by the protocol
	"crypto/sha1" //nolint:gosec // detects transmission errors only, required by the protocol
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"strings"
)

// checksum is the checksum that a client has sent for the body of one request.
type checksum struct {
	hash.Hash        // hash of the received bytes
	want      []byte // checksum from the header field
}

// parseChecksum parses Upload-Checksum: an algorithm, a space and the checksum in
// base64. It returns nil for an empty field.
func parseChecksum(field string) (*checksum, error) {
	if field == "" {
		return nil, nil
	}
	algorithm, encoded, _ := strings.Cut(field, " ")
	var c checksum
	switch algorithm {
	case "sha256":
		c.Hash = sha256.New()
	case "sha1":
		c.Hash = sha1.New() //nolint:gosec // see the import
	case "md5":
		c.Hash = md5.New() //nolint:gosec // see the import
	default:
		return nil, newError(http.StatusBadRequest, "Upload-Checksum: the supported algorithms are "+algorithms)
	}
	var err error
	c.want, err = base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(c.want) != c.Size() || strings.ContainsAny(encoded, "\r\n") {
		return nil, newError(http.StatusBadRequest, "Upload-Checksum: the checksum must be base64 of the length of "+algorithm)
	}
	return &c, nil
}

// matches reports whether the received bytes have the checksum.
func (c *checksum) matches() bool { return bytes.Equal(c.Sum(nil), c.want) }
