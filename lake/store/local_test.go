package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/lake/store"
)

func TestLocalNotWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	s, err := store.OpenLocal(file + "/lake")
	check(t, err)
	err = store.CheckConditionalPut(t.Context(), s)
	var access *store.AccessError
	if !errors.As(err, &access) || !strings.Contains(err.Error(), file) || access.Advice == "" {
		t.Errorf("a file in the way: %v", err)
	}

	if os.Getuid() == 0 {
		s, err = store.OpenLocal("/proc/lake") // nobody, not even root, makes folders there
	} else {
		s, err = store.OpenLocal("/lake-of-nobody")
	}
	check(t, err)
	if err := store.CheckConditionalPut(t.Context(), s); err == nil {
		t.Error("a folder that cannot be made: no error")
	}
	if _, err := store.Open(t.Context(), "file://relative/path", store.S3Options{}); err == nil {
		t.Error("a relative path was taken")
	}
	if _, err := store.Open(t.Context(), "gs://bucket", store.S3Options{}); err == nil {
		t.Error("an unknown scheme was taken")
	}
}

func TestLocalLeavesNoTemporaryFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, err := store.OpenLocal(root)
	check(t, err)
	check(t, s.Put(t.Context(), "a", nil))
	check(t, s.PutIfAbsent(t.Context(), "b", nil))
	if err := s.PutIfAbsent(t.Context(), "b", nil); err == nil {
		t.Error("b was created twice")
	}
	temp := filepath.Join(root, ".tidemark-tmp")
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	// A crashed writer's file is removed when a day old, a living one's is not.
	old := filepath.Join(temp, "old")
	check(t, os.WriteFile(old, nil, 0o600))
	check(t, os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)))
	check(t, os.WriteFile(filepath.Join(temp, "young"), nil, 0o600))
	_, err = store.OpenLocal(root)
	check(t, err)
	left, err = os.ReadDir(temp)
	if err != nil || len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("after opening again: %v, %v", left, err)
	}
}
