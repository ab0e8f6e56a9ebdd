// Package quota limits what is written below folders, by project quotas: ext4 and XFS
// count the bytes of all files that carry a project's number, and files made in a folder
// that has one inherit it.
package quota
