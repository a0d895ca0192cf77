import { VERSION } from "../../base/version.ts";
import { print } from "../output.ts";
import { wantsColours } from "../table.ts";
import { Context } from "./context.ts";
import { type DoctorOptions, doctorHelp, parseDoctorOptions } from "./options.ts";
import { CHECKS } from "./registry.ts";
import { makeReport, type Report } from "./report.ts";
import { runChecks } from "./runner.ts";
import { findSettings } from "./settings.ts";
import { reportText } from "./text.ts";

/** @returns the exit code @throws UsageError */
export async function runDoctor(args: readonly string[]): Promise<number> {
  const { options, agentArgs } = parseDoctorOptions(args);
  if (options.help) {
    await print(doctorHelp());
    return 0;
  }
  const { report, exitCode } = await examine(options, agentArgs);
  const text =
    options.output === "json"
      ? `${JSON.stringify(report, null, 2)}\n`
      : reportText(report, wantsColours(process.stdout, process.env));
  await print(text);
  return exitCode;
}

/** What the doctor finds with these of its options. @throws UsageError */
export async function doctorReport(args: readonly string[]): Promise<Report> {
  const { options, agentArgs } = parseDoctorOptions(args);
  return (await examine(options, agentArgs)).report;
}

async function examine(options: DoctorOptions, agentArgs: readonly string[]) {
  const limitMs = options.timeout * 1000;
  const settings = await findSettings(agentArgs, process.env);
  const context = new Context(settings, options, AbortSignal.timeout(limitMs));
  const results = await runChecks(CHECKS, context, limitMs);
  const configuration = { from: settings.from, leaseSource: settings.leaseSource ?? null };
  return makeReport({ version: VERSION, configuration }, results);
}
