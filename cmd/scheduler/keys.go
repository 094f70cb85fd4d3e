package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"penstock/configs"
	"penstock/tenant"
)

func (c *cli) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make API keys for tenants, and the hashes that the configuration holds",
		Long: `Clients of the data plane show a key as "Authorization: Bearer KEY" or "X-Api-Key: KEY". The
configuration holds only the SHA-256 hashes of the keys, so nobody can use what stands there.`,
		Example: `  scheduler keys new shop
  scheduler keys hash < key.txt`,
	}
	cmd.AddCommand(c.keysNewCommand(), c.keysHashCommand())
	return cmd
}

// madeKey is a new key, for machines.
type madeKey struct {
	Tenant string `json:"tenant,omitempty"`
	Key    string `json:"key,omitempty"`
	Hash   string `json:"hash"`
}

func (c *cli) keysNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new [TENANT]",
		Short: "Print a new random key, and the lines of the configuration that let it in",
		Long: `Print a key of 256 random bits, once: it is stored nowhere. Give it to the client, and put its hash
into the configuration of the service, which takes it by a reload. A tenant may have several keys, so
that a key can be changed without a gap: add the new one, change the clients, remove the old one.`,
		Example: `  scheduler keys new shop
  scheduler keys new shop --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "NAME"
			if len(args) > 0 {
				name = args[0]
				if err := configs.CheckTenantName(name); err != nil {
					return &usageError{cmd.CommandPath(), err}
				}
			}
			key := tenant.NewKey()
			hash := tenant.HashOf(key).String()
			if c.asJSON {
				return c.printJSON(madeKey{Tenant: strings.Join(args, ""), Key: key, Hash: hash})
			}
			_, err := fmt.Fprintf(c.out, `%s

Give this key to the client now; it is not stored and can't be shown again. For the configuration:

tenants:
  accounts:
    %s:
      keys: [%q]
`, key, yamlKey(name), hash)
			return err
		},
	}
}

// yamlKey quotes a name that YAML would not take for text.
func yamlKey(name string) string {
	for i := range len(name) {
		if c := name[i] | 0x20; c < 'a' || c > 'z' {
			return `"` + name + `"`
		}
	}
	switch strings.ToLower(name) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return `"` + name + `"`
	}
	return name
}

func (c *cli) keysHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Read a key from standard input and print its hash for the configuration",
		Long: `Read a key that was made elsewhere from standard input, and print its hash as tenants.accounts.NAME.keys
takes it. The key must be random, of 24 characters or more: the hash is a fast one, which is safe for
random keys and for nothing else.`,
		Example: `  scheduler keys hash < key.txt
  openssl rand -base64 32 | tee key.txt | scheduler keys hash`,
		RunE: func(*cobra.Command, []string) error {
			raw, err := io.ReadAll(io.LimitReader(c.in, 64<<10))
			if err != nil {
				return fmt.Errorf("read the key from standard input: %w", err)
			}
			key := strings.TrimRight(string(raw), "\r\n")
			if key == "" {
				return errors.New("no key came from standard input; write it there, as in: scheduler keys hash < key.txt")
			}
			if err := tenant.CheckKey(key); err != nil {
				return err
			}
			hash := tenant.HashOf(key).String()
			if c.asJSON {
				return c.printJSON(madeKey{Hash: hash})
			}
			_, err = fmt.Fprintln(c.out, hash)
			return err
		},
	}
}
