// Package kubernetes checks the manifests against the Go types of the Kubernetes API. It
// is a separate module, because only this test needs the API's packages.
package kubernetes

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// A field that is not in the API, or has another type there, is an error, as with kubectl
// apply.
func TestManifestsMatchTheAPI(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var of struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &of); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			object := map[string]any{
				"v1 Service": new(corev1.Service), "v1 PersistentVolumeClaim": new(corev1.PersistentVolumeClaim),
				"apps/v1 Deployment": new(appsv1.Deployment), "apps/v1 StatefulSet": new(appsv1.StatefulSet),
			}[of.APIVersion+" "+of.Kind]
			if object == nil {
				t.Errorf("%s: unknown kind %s %q", file, of.APIVersion, of.Kind)
			} else if err := yaml.UnmarshalStrict(document, object); err != nil {
				t.Errorf("%s: %s: %v", file, of.Kind, err)
			}
		}
	}
}
