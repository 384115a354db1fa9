//! What the tokenizers of test models are trained on.

pub(super) const TEXT: &str = "\
The cat sat on the mat and looked at the rain. It had been raining since the morning, and the street outside was empty.
A model reads one token after another and says what comes next. It has seen a lot of text, but it has not seen the world.
What is the capital of France? The capital of France is Paris. What is the capital of Italy? The capital of Italy is Rome.
How many days are there in a week? There are seven days in a week: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.
When memory is short, something has to go. The question is what should go first, and who should be told about it.
You can write a list of numbers: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10. You can add them: 1 + 2 = 3, and 3 + 4 = 7.
She said: \"I don't know where they're going, but I'll go with them.\" He said that it wasn't far, and that they'd be back before dark.
Please write a short story about a small house near the sea. The house was old, and the wind came in through the windows.
An old man lived there with his dog. Every evening they walked along the shore, and every evening the dog ran after the birds.
The water was cold in the winter and warm in the summer. In the spring there were flowers on the hills behind the house.
To make tea, boil the water, put the leaves into the pot, and wait for three minutes. Then pour it into a cup and drink it slowly.
The engine asks for memory before it starts, and gives it back when it is done. Nothing is taken without being counted.
If the answer is not known, say so. If the answer is known, say it in a few words, and then explain where it comes from.
fn main() { let total = 0; for value in values { total += value; } println!(\"{}\", total); }
def add(first, second): return first + second
Thank you for your help. You're welcome! Is there anything else that I can do for you today?
";
