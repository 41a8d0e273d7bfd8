package typed

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
)

type (
	left    struct{ Name, Left string }
	right   struct{ Name, Right string }
	named   struct{ Name string }
	renamed struct {
		Other string `json:"Name"`
	}
	deep   struct{ left }
	bothOf struct {
		left
		right
	}
	sameTwice struct {
		deep
		Second struct{ left } `json:"second"`
	}
	tagWins struct {
		named
		renamed
	}
	tagsTie struct { // both tags are at depth 2, because go vet refuses them at depth 1
		viaRenamed
		Again *struct{ Name string }
		viaRenamedToo
	}
	viaRenamed    struct{ renamed }
	viaRenamedToo struct{ renamedToo }
	renamedToo    struct {
		Third string `json:"Name"`
	}
	outerWins struct {
		left
		Name int
	}
	leftAndDeep struct {
		deep
		right
	}
	twice struct {
		viaA
		viaB
	}
	viaA struct{ named }
	viaB struct{ named }
)

// FieldsOf finds the members that encoding/json writes.
func TestFieldsOf(t *testing.T) {
	for _, v := range []any{bothOf{}, sameTwice{}, tagWins{}, tagsTie{}, outerWins{}, leftAndDeep{}, twice{}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		fields, err := FieldsOf(reflect.TypeOf(v))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range fields {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if want := slices.Sorted(maps.Keys(members)); !slices.Equal(names, want) {
			t.Errorf("%T has the fields %q, want %q", v, names, want)
		}
	}
}
