import * as v from "valibot";
import { mustBe } from "../../config/schema.ts";
import { type CommandSpec, HELP, optionsHelp, parseOptions } from "../options.ts";
import { print } from "../output.ts";
import { bashScript } from "./bash.ts";
import { fishScript } from "./fish.ts";
import { type CompletableCommand, modelOf } from "./model.ts";
import { zshScript } from "./zsh.ts";

/** `tartan completion`: a script by which a shell completes commands, options and their values. */

const OPTIONS = { help: HELP };
const ARGS = {
  shell: { usage: "bash, zsh or fish", schema: v.picklist(["bash", "zsh", "fish"], mustBe("bash, zsh or fish")) },
};
export const COMPLETION: CommandSpec = { options: OPTIONS, args: ARGS };

const TEXT = `Usage: tartan completion SHELL

Writes a script to stdout by which SHELL (bash, zsh or fish) completes tartan's
commands, options and their values.

Options:
${optionsHelp(OPTIONS)}

Examples:
  source <(tartan completion bash)
  tartan completion bash > /etc/bash_completion.d/tartan
  tartan completion zsh > /usr/local/share/zsh/site-functions/_tartan
  tartan completion fish > ~/.config/fish/completions/tartan.fish

Exit code: 0, or 2 for wrong options.
`;

/** @returns the exit code @throws UsageError */
export async function runCompletion(
  args: readonly string[],
  commands: Readonly<Record<string, CompletableCommand>>,
): Promise<number> {
  const { help, shell } = parseOptions(OPTIONS, args, ARGS);
  if (help) {
    await print(TEXT);
    return 0;
  }
  const model = await modelOf(commands);
  switch (shell) {
    case "bash":
      await print(bashScript(model));
      return 0;
    case "zsh":
      await print(zshScript(model));
      return 0;
    case "fish":
      await print(fishScript(model));
      return 0;
  }
}
