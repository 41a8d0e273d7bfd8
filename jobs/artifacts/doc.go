// Package artifacts stores the files that tasks create, in a Folder or, for several
// machines, in a Bucket of object storage. A Sweeper removes the files of tasks that the store
// no longer keeps.
package artifacts
