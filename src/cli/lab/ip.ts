import { type Address, familyOf } from "../../net/address.ts";
import { ADDRESS_BITS } from "../../net/family.ts";
import { run, tool } from "./command.ts";

interface IpOptions {
  /** the named network namespace to work in */
  readonly namespace?: string;
  /** go on after a command that fails, and do not report it */
  readonly force?: true;
  readonly signal?: AbortSignal;
}

/**
 * Runs commands of ip(8) in one process, without the leading `ip`.
 * @throws Error with the first command that failed and ip's own words
 */
export async function ip(commands: readonly string[], { namespace, force, signal }: IpOptions): Promise<void> {
  const where = namespace === undefined ? [] : ["-n", namespace];
  const result = await run(
    [tool("ip"), ...where, ...(force ? ["-force"] : []), "-batch", "-"],
    commands.join("\n"),
    signal,
  );
  if (result.code === 0 || force) return;
  throw new Error(describeBatchFailure(commands, result.stderr, namespace));
}

/**
 * The command that gives an interface an address which can be used at once.
 * @param length bits of its prefix
 */
export function addressCommand(address: Address, length: number, device: string): string {
  // Nobody looks for duplicates of the address first, which takes IPv6 a second or two.
  const [options] = familyOf(address) === 6 ? ["nodad"] : length < ADDRESS_BITS[4] ? ["broadcast +"] : [];
  return ["address add", `${address}/${length}`, ...(options === undefined ? [] : [options]), `dev ${device}`].join(
    " ",
  );
}

/** @param stderr of `ip -batch`: the reason, then `Command failed -:LINE` */
export function describeBatchFailure(commands: readonly string[], stderr: string, namespace?: string): string {
  const line = Number(/^Command failed -:(\d+)$/m.exec(stderr)?.[1] ?? "0");
  const reason = stderr
    .replace(/^Command failed.*$/m, "")
    .replace(/\s+/g, " ")
    .trim();
  const command = commands[line - 1] ?? commands.join("; ");
  return `ip ${command}${namespace === undefined ? "" : ` (in ${namespace})`}: ${reason || "failed without a word"}`;
}
