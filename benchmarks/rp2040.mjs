// Runs an ELF file in rp2040js from its vector table until BKPT, and counts what one call of a function executes.
//
//     node rp2040.mjs RP2040JS ELF ANSWER BYTES ROOT PART... > record
//
// RP2040JS is the package's folder; ANSWER is the address of so many BYTES, ROOT and PARTs are those of functions, all in
// hexadecimal. The record is the counting plugin's (firmware/counter/counter.c), with a line "cycles PART N" for each call
// of a part, one for the root's, and "answer" with the bytes.
import { load, RAM } from '../firmware/platforms/tinygen_qemu/tools/rp2040_chip.mjs';

const [folder, path, ...numbers] = process.argv.slice(2);
const [answer, bytes, root, ...parts] = numbers.map((number) => parseInt(number, 16));

const chip = load(path, folder);
const core = chip.core;
let ended = false;
chip.onBreak = () => { ended = true; };

const OUTSIDE = -1;
const spans = new Map(); // of each part, by index, and of the root between them: [count, taken] by address
const calls = []; // [index, cycles when it began, where it returns]
const cycles = [];
while (!ended) {
  const at = core.PC & ~1;
  const index = calls.length ? parts.indexOf(at) : OUTSIDE;
  if ((calls.length === 0 && at === root) || (calls.length === 1 && index >= 0)) {
    calls.push([index, core.cycles, core.LR & ~1]);
  }
  const opcode = chip.readUint16(at);
  core.executeInstruction();
  if (!calls.length) continue;
  const [part, began, end] = calls.at(-1);
  if (!spans.has(part)) spans.set(part, new Map());
  const seen = spans.get(part).get(at) ?? [0, 0];
  seen[0]++;
  if ((core.PC & ~1) !== at + (opcode >> 11 >= 0x1d ? 4 : 2)) seen[1]++;
  spans.get(part).set(at, seen);
  if ((core.PC & ~1) === end) {
    cycles.push([part, core.cycles - began]);
    calls.pop();
  }
}
const lines = [];
for (const [part, seen] of spans) {
  lines.push(`span ${part} ${(part < 0 ? root : parts[part]).toString(16)}`);
  for (const [at, [count, taken]] of seen) lines.push(`${at.toString(16)} ${count} ${taken}`);
}
lines.push(`answer ${Buffer.from(chip.sram.subarray(answer - RAM, answer - RAM + bytes)).toString('hex')}`);
for (const [part, count] of cycles) lines.push(`cycles ${part} ${count}`);
process.stdout.write(`${lines.join('\n')}\nend\n`);
