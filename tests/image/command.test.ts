import { expect, test } from "bun:test";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");

test.each([
  [["--arch=mips"], "image: --arch is one of amd64, arm64, not mips"],
  [["--tree", "/new"], "image: --tree needs one --arch"],
  [["--arch=amd64", "--tree=/"], "image: --tree makes a new folder, and / is there"],
  [["--push"], "image: Unknown option '--push'"],
])("bun build.ts image refuses %p", async (args, message) => {
  const child = Bun.spawn([process.execPath, "build.ts", "image", ...args], {
    cwd: ROOT,
    stderr: "pipe",
    stdout: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect({ stdout, code, message: stderr.split("\n")[0] }).toEqual({ stdout: "", code: 2, message });
});
