package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wheelScript builds the wheel with the package's own build backend, so that neither pip
// nor a network is needed.
const wheelScript = `import sys; sys.path.insert(0, "clients/python/_build"); import backend; print(backend.build_wheel(sys.argv[1]))`

// wheel builds the wheel of the Python package and returns its name. Its files have the
// modification time at.
func wheel(ctx context.Context, folder string, environ []string, at time.Time) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "python3", "-B", "-c", wheelScript, folder)
	cmd.Env = slices.Concat(environ, []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(at.Unix(), 10)})
	out, err := cmd.Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			return "", fmt.Errorf("build the wheel: %w\n%s", err, failed.Stderr)
		}
		return "", fmt.Errorf("build the wheel: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
