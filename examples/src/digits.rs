//! Small pictures of digits, drawn from a font: shifted, of uneven strength, noisy.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::random::Random;

/// Width and height of a picture.
const SIDE: usize = 12;
/// Pixels of a picture.
pub const PIXELS: usize = SIDE * SIDE;
/// The digits 0 to 9.
pub const CLASSES: usize = 10;

/// Width and height of a glyph.
const GLYPH: [usize; 2] = [5, 7];
/// The glyphs of the digits, a byte a row, the leftmost pixel in bit 4.
#[rustfmt::skip]
const FONT: [[u8; GLYPH[1]]; CLASSES] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
    [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
];
/// How far a glyph is shifted at most, from 3 pixels off the left and 2 off the top.
const SHIFT: usize = 1;
/// Deviation of the noise; ink is 0.6 to 1, paper 0.
const NOISE: f32 = 0.25;

/// Pictures and the digits on them.
#[derive(Clone, Debug)]
pub struct Digits {
    pixels: Vec<f32>,
    labels: Vec<i32>,
}

impl Digits {
    /// Draws `count` pictures; another seed draws others.
    pub fn draw(count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (mut pixels, mut labels) = (Vec::with_capacity(count * PIXELS), Vec::new());
        for _ in 0..count {
            let digit = random.below(CLASSES);
            let [left, top] = [3, 2].map(|middle| middle - SHIFT + random.below(2 * SHIFT + 1));
            let ink = 0.6 + 0.4 * random.uniform();
            let start = pixels.len();
            pixels.extend((0..PIXELS).map(|_| NOISE * random.normal()));
            for (row, bits) in FONT[digit].iter().enumerate() {
                for column in (0..GLYPH[0]).filter(|column| bits >> (4 - column) & 1 == 1) {
                    pixels[start + (top + row) * SIDE + left + column] += ink;
                }
            }
            labels.push(digit as i32);
        }
        Self { pixels, labels }
    }

    /// The number of pictures.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The digit on a picture.
    pub fn label(&self, index: usize) -> i32 {
        self.labels[index]
    }

    /// Some of the pictures, `[count, PIXELS]`, and their digits.
    pub fn tensors(&self, range: Range<usize>, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let count = range.len();
        let pixels = &self.pixels[range.start * PIXELS..range.end * PIXELS];
        let labels = &self.labels[range];
        (
            Tensor::from_data(TensorData::new(pixels.to_vec(), [count, PIXELS]), device),
            Tensor::from_data(TensorData::new(labels.to_vec(), [count]), device),
        )
    }

    /// The batch of a training step: one after the other, again from the start when none is left.
    pub fn batch(&self, step: usize, size: usize, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let first = step % (self.count() / size) * size;
        self.tensors(first..first + size, device)
    }

    /// A picture in characters.
    pub fn picture(&self, index: usize) -> String {
        let shade = |&value: &f32| match value {
            ..0.25 => ' ',
            ..0.5 => '.',
            ..0.75 => 'o',
            _ => '#',
        };
        self.pixels[index * PIXELS..(index + 1) * PIXELS]
            .chunks(SIDE)
            .map(|row| format!("    {}\n", row.iter().map(shade).collect::<String>()))
            .collect()
    }
}

/// How many of the predictions are right, in percent.
pub fn accuracy(logits: Tensor<2>, labels: Tensor<1, Int>) -> f32 {
    let count = labels.dims()[0];
    let right = logits.argmax(1).reshape([count]).equal(labels).int().sum();
    100.0 * right.into_scalar::<i32>() as f32 / count as f32
}
