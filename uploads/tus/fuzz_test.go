package tus

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// Accepted metadata is the same after it is encoded and parsed again, and CheckName accepts the
// name in it.
func FuzzUploadMetadata(f *testing.F) {
	for _, seed := range []string{"", "filename d29ybGQ=", "filename d29ybGQ=,directory ZA==,empty", "a ,b ", "filename !", "a b,a b", "filename Li4vLi4veA==", " k\tv,,", "ключ eA==", "a eA", "a eB=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		pairs, err := parseMetadata(field)
		if err != nil {
			return
		}
		var again []string
		for key, value := range pairs {
			if key == "" || strings.ContainsAny(key, " ,\r\n\x00") {
				t.Errorf("key %q", key)
			}
			again = append(again, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
		}
		same, err := parseMetadata(strings.Join(again, ","))
		if err != nil || len(same) != len(pairs) {
			t.Fatalf("%q: %v, %v", again, same, err)
		}
		for key, value := range pairs {
			if same[key] != value {
				t.Errorf("%s: %q, parsed again %q", key, value, same[key])
			}
		}
		if directory, filename, err := targetName(pairs); err == nil && uploads.CheckName(directory, filename) != nil {
			t.Errorf("%q/%q", directory, filename)
		}
	})
}

func FuzzUploadChecksum(f *testing.F) {
	for _, seed := range []string{"", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "md5 ", "sha256", "crc32 AAAAAA==", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=\n", "md5  1B2M2Y8AsgTpgAmY7PhCfg=="} {
		f.Add(seed, []byte("hello world"))
	}
	f.Fuzz(func(t *testing.T, field string, content []byte) {
		c, err := parseChecksum(field)
		if err != nil || c == nil {
			if (c == nil && err == nil) != (field == "") {
				t.Errorf("%q: %v, %v", field, c, err)
			}
			return
		}
		if algorithm, _, _ := strings.Cut(field, " "); algorithm+" "+base64.StdEncoding.EncodeToString(c.want) != field {
			t.Errorf("%q is not the encoding of %x", field, c.want)
		}
		_, _ = c.Write(content) // a hash never fails
		right, err := parseChecksum(strings.Split(field, " ")[0] + " " + base64.StdEncoding.EncodeToString(c.Sum(nil)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = right.Write(content)
		if !right.matches() {
			t.Error("the right checksum does not match")
		}
		right.want[0] ^= 1
		if right.matches() {
			t.Error("a wrong checksum matches")
		}
	})
}

func FuzzUploadConcat(f *testing.F) {
	const id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, seed := range []string{"", "partial", "final;/tus/" + id, "final; https://a.example/x/tus/" + id + " /tus/" + id, "final;", "final", "final;/tus/../x", "final;" + id + "/", "FINAL;x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		parts, err := parseConcat(field)
		if err != nil {
			return
		}
		if (len(parts) == 0) != (field == "" || field == concatPartial) {
			t.Errorf("%q: %q", field, parts)
		}
		for _, part := range parts {
			if !validID(part) || !strings.Contains(field, part) {
				t.Errorf("part %q", part)
			}
		}
	})
}
