package tus

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // against accidents, as the protocol has it
	"crypto/sha1" //nolint:gosec // the same: the protocol demands it
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"strings"
)

// checksum is what a client says of the bytes of one request.
type checksum struct {
	hash.Hash
	want []byte
}

// parseChecksum reads Upload-Checksum: an algorithm, a space, and the sum in
// base64. It returns nil for no field.
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
		return nil, newError(http.StatusBadRequest, "Upload-Checksum: the algorithms are "+algorithms)
	}
	var err error
	c.want, err = base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(c.want) != c.Size() || strings.ContainsAny(encoded, "\r\n") {
		return nil, newError(http.StatusBadRequest, "Upload-Checksum is no sum in base64 of the length that "+algorithm+" has")
	}
	return &c, nil
}

// holds reports whether the bytes are those that were announced.
func (c *checksum) matches() bool { return bytes.Equal(c.Sum(nil), c.want) }
