package config

import "strings"

// storeVariable is the environment variable that passes address and password of the
// embedded state server to the master after a reload. The state server itself is not
// restarted by a reload.
const storeVariable = "GALE_STORE_SLOT"

// Store is the address and the password of the embedded state server. The master sets
// it; there is no flag.
type Store struct{ Address, Password string }

// StoreFrom returns the Store that AddTo has added to an environment, or the zero Store.
func StoreFrom(environ []string) (s Store) {
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, storeVariable+"="); ok {
			s.Address, s.Password, _ = strings.Cut(value, " ")
		}
	}
	return s
}

// AddTo returns environ, which has the form of os.Environ, with a variable for s.
func (s Store) AddTo(environ []string) []string {
	return append(environ[:len(environ):len(environ)], storeVariable+"="+s.Address+" "+s.Password)
}
