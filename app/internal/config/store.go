package config

import "strings"

// storeVariable carries the store slot over a reload: the master that follows
// must find the store, which goes on, where it was.
const storeVariable = "GALE_STORE_SLOT"

// Store is where the store slot listens, and what its clients must know. The
// master fills it in.
type Store struct{ Address, Password string }

// StoreIn returns the store slot that environ, in the form of os.Environ, tells
// of; the zero Store if it tells of none.
func StoreIn(environ []string) (s Store) {
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, storeVariable+"="); ok {
			s.Address, s.Password, _ = strings.Cut(value, " ")
		}
	}
	return s
}

// Tell adds the store slot to environ.
func (s Store) Tell(environ []string) []string {
	return append(environ[:len(environ):len(environ)], storeVariable+"="+s.Address+" "+s.Password)
}
