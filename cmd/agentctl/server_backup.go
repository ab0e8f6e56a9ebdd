package main

import (
	"path/filepath"

	"agentctl/server"

	"github.com/spf13/cobra"
)

func (a *app) serverBackupCmd() *cobra.Command {
	return &cobra.Command{
		Use: "backup FOLDER", Short: "Copy the embedded server's tasks, events, files and keys",
		Long: `Copy the embedded server of this state folder to a new folder, while it runs or
not: the store as it is at one moment, then the uploaded files and the keys. The
copy is verified before it gets its name. It holds the operator's keys and is
readable by its owner alone. To restore it, stop the server and put the copy in the
place of the folder "server" of the state folder.`,
		Example: "  agentctl server backup /backup/agentctl-monday",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dest, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := server.Backup(cmd.Context(), a.serverFolder(), dest); err != nil {
				return err
			}
			a.say("backed up and verified: %s", dest)
			return nil
		},
	}
}

func (a *app) serverVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use: "verify [FOLDER]", Short: "Check the embedded server's store, or a backup, for damage",
		Long: `Check the store of the embedded server of this state folder, or that of a backup:
its structure, and that each piece of a console can be read. The server may run.
Exit code 1 if something is damaged.`,
		Example: "  agentctl server verify\n  agentctl server verify /backup/agentctl-monday",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.serverFolder()
			if len(args) > 0 {
				dir = args[0]
			}
			if err := server.Verify(cmd.Context(), dir); err != nil {
				return err
			}
			a.say("no damage found: %s", dir)
			return nil
		},
	}
}
