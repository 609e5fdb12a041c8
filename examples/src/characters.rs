//! Windows of characters from the generated stories.

use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_datasets::{Split, StoryCorpus};

/// A text and the length of the windows that are cut from it.
#[derive(Clone, Debug)]
pub struct Characters {
    text: Vec<u8>,
    context: usize,
}

impl Characters {
    /// ASCII: ids are below this.
    pub const COUNT: usize = 128;

    /// Stories of so many characters, for windows of `context` characters.
    pub fn new(split: Split, characters: usize, context: usize) -> Self {
        let text = StoryCorpus::new(0).text(split, characters).into_bytes();
        Self { text, context }
    }

    /// Windows `first..first + count` of a fixed shuffle: contexts `[count, context]` and the character after each.
    pub fn windows(
        &self,
        first: usize,
        count: usize,
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<1, Int>) {
        let (mut contexts, mut targets) = (Vec::new(), Vec::new());
        for index in first..first + count {
            // A prime stride, so that the positions of a batch lie far apart.
            let start = index * 7919 % (self.text.len() - self.context);
            let end = start + self.context;
            contexts.extend(self.text[start..end].iter().map(|&byte| i32::from(byte)));
            targets.push(i32::from(self.text[end]));
        }
        (
            Tensor::from_data(TensorData::new(contexts, [count, self.context]), device),
            Tensor::from_data(TensorData::new(targets, [count]), device),
        )
    }
}
