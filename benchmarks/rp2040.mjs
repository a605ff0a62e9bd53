// Runs an ELF file in rp2040js from its vector table until BKPT, and counts what one call of a function executes.
//
//     node rp2040.mjs RP2040JS ELF ANSWER BYTES ROOT PART... > record
//
// RP2040JS is the package's folder; ANSWER is the address of so many BYTES, ROOT and PARTs are those of functions, all in
// hexadecimal. The record is the counting plugin's (firmware/counter/counter.c), with a line "cycles PART N" for each call
// of a part, one for the root's, and "answer" with the bytes.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, path, ...numbers] = process.argv.slice(2);
const { RP2040 } = await import(pathToFileURL(`${folder}/dist/esm/index.js`));
const [answer, bytes, root, ...parts] = numbers.map((number) => parseInt(number, 16));

const FLASH = 0x10000000;
const RAM = 0x20000000;
const PT_LOAD = 1;

const chip = new RP2040();
const core = chip.core;
const file = readFileSync(path);
const headers = file.readUInt32LE(28);
for (let index = 0; index < file.readUInt16LE(44); index++) {
  const at = headers + 32 * index;
  const [offset, address, size] = [4, 12, 16].map((field) => file.readUInt32LE(at + field));
  if (file.readUInt32LE(at) === PT_LOAD && size) {
    const memory = address >= RAM ? chip.sram.subarray(address - RAM) : chip.flash.subarray(address - FLASH);
    memory.set(file.subarray(offset, offset + size));
  }
}
core.SP = chip.readUint32(FLASH);
core.PC = chip.readUint32(FLASH + 4) & ~1;
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
