import { beforeAll, describe, expect, test } from "bun:test";
import { COMMANDS } from "../../src/cli/commands.ts";
import { bashScript } from "../../src/cli/completion/bash.ts";
import { fishScript } from "../../src/cli/completion/fish.ts";
import { type Model, modelOf } from "../../src/cli/completion/model.ts";
import { zshScript } from "../../src/cli/completion/zsh.ts";
import { FLAG_NAMES } from "../../src/config/flag-table.ts";
import { useTemporaryFolder } from "../support/temp.ts";

let model: Model;
beforeAll(async () => {
  model = await modelOf(COMMANDS);
});

/** What bash offers once the last of these words is begun. Bash takes = for a word of its own. */
async function completed(words: readonly string[], cwd: string): Promise<string[]> {
  const script = `${bashScript(model)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_tartan
((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}"
true`;
  const child = Bun.spawn(["bash", "--norc", "-uc", script, "bash", ...words], { cwd, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout.split("\n").filter(Boolean);
}

describe("bash completes", () => {
  const folder = useTemporaryFolder();
  beforeAll(async () => {
    await Bun.write(folder.at("some-file"), "");
  });

  test.each<[words: string, expected: string[]]>([
    ["tartan tra", ["trace"]],
    ["tartan --log-f", ["--log-format"]],
    ["tartan --log-format = ", ["text", "json"]],
    ["tartan --kubeconfig-file so", ["some-file"]],
    ["tartan peers --fam", ["--family"]],
    ["tartan peers --family ", ["ipv4", "ipv6"]],
    ["tartan peers --family = ipv4", ["ipv4"]],
    ["tartan peers -family ", ["ipv4", "ipv6"]],
    ["tartan peers -o ", ["text", "wide", "json"]],
    ["tartan peers -o wide --w", ["--watch"]],
    ["tartan peers x", []],
    ["tartan get le", ["lease", "leases"]],
    ["tartan get -o json le", ["lease", "leases"]],
    ["tartan get --output = json le", ["lease", "leases"]],
    ["tartan get leases le", []],
    ["tartan get -o ya", ["yaml"]],
    ["tartan log-level ", ["info", "debug", "trace"]],
    ["tartan completion ", ["bash", "zsh", "fish"]],
    ["tartan trace --subnet-file so", ["some-file"]],
    ["tartan trace 10.", []],
    ["tartan events --kind peerD", ["peerDown", "peerDegraded"]],
    ["tartan get events --kind = peerU", ["peerUp"]],
    ["tartan doctor --kube-s", ["--kube-subnet-mgr"]],
    ["tartan doctor --kubeconfig-file so", ["some-file"]],
    ["tartan docker-opts -f so", ["some-file"]],
    ["tartan nonsense ", []],
  ])("%s", async (words, expected) => {
    expect(await completed(words.split(" "), folder.path)).toEqual(expected);
  });

  test("all commands, and each one's options", async () => {
    expect((await completed(["tartan", ""], folder.path)).sort()).toEqual(Object.keys(COMMANDS).sort());
    expect(await completed(["tartan", "-"], folder.path)).toEqual(
      expect.arrayContaining(FLAG_NAMES.map((name) => (name === "v" ? "-v" : `--${name}`))),
    );
    for (const { name, options } of model.commands) {
      const offered = await completed(["tartan", name, "-"], folder.path);
      expect(offered).toEqual(options.flatMap(({ spellings }) => spellings));
      expect(offered).toContain("--help");
    }
  });
});

describe("a script that its shell reads", () => {
  const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };
  for (const [shell, make] of Object.entries(scripts)) {
    test.skipIf(Bun.which(shell) === null)(shell, async () => {
      const child = Bun.spawn([shell, "-n"], { stdin: Buffer.from(make(model)), stdout: "pipe", stderr: "pipe" });
      expect({ stderr: await child.stderr.text(), code: await child.exited }).toEqual({ stderr: "", code: 0 });
    });

    test(`names every command and option: ${shell}`, () => {
      const script = make(model);
      for (const { name, options } of model.commands) {
        expect(script).toContain(name);
        for (const { spellings } of options) {
          for (const one of spellings) {
            const written = one.startsWith("--") ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`;
            expect(script).toContain(shell === "fish" ? written : one);
          }
        }
      }
    });
  }
});
