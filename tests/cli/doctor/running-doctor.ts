import * as v from "valibot";
import { Report } from "../../../src/cli/doctor/report.ts";
import { executable } from "../../support/executable.ts";
import type { Netns } from "../../support/netns.ts";

export interface DoctorRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Readonly<Record<string, string>>;

/** Runs the real executable as `tartan doctor` to its end, in a network namespace or here. */
export async function runDoctor(
  ns: Netns | undefined,
  args: readonly string[],
  environment: Environment = {},
): Promise<DoctorRun> {
  const command = [executable(), "doctor", ...args];
  const env = { PATH: process.env["PATH"] ?? "", ...environment };
  const settings = { stdin: "ignore", stdout: "pipe", stderr: "pipe", env } as const;
  const child = ns === undefined ? Bun.spawn(command, settings) : ns.spawn(command, settings);
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Its report by the schema. @throws Error with its stderr if it gave none */
export async function diagnose(ns: Netns | undefined, args: readonly string[], environment: Environment = {}) {
  const { code, stdout, stderr } = await runDoctor(ns, ["-o", "json", ...args], environment);
  if (!stdout.startsWith("{")) throw new Error(`tartan doctor: exit code ${code}: ${stderr}`);
  const report = v.parse(v.pipe(v.string(), v.parseJson(), Report), stdout);
  return {
    code,
    report,
    /** what one check found, as `status: message` */
    of: (check: string) =>
      report.findings.filter((one) => one.check === check).map(({ status, message }) => `${status}: ${message}`),
    fixOf: (check: string) => report.findings.find((one) => one.check === check && one.fix !== undefined)?.fix ?? "",
    /** of all checks, what is neither ok nor skipped */
    problems: report.findings
      .filter(({ status }) => status === "warning" || status === "error")
      .map(({ check, status, message }) => `${check}: ${status}: ${message}`),
  };
}
